"""ACLs and conditions into native conditions (HAProxy manual, 7.1 and 7.2).

A `Scope` holds the ACLs of one proxy. Native tests always name their method, since the two languages' defaults differ.
Pattern files are the one thing a dialect may read.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.haproxy.expressions import Sample, sample
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word, span
from ferryman.config.source import Diagnostics, Mark

NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_METHODS: Final = {
    "str": "is",
    "beg": "prefix",
    "end": "suffix",
    "sub": "contains",
    "dir": "directory",
    "dom": "domain",
    "reg": "regex",
    "len": "length",
    "found": "found",
    "int": "integer",
    "ip": "cidr",
    "bool": "boolean",
    "bin": "binary",
}
_OPERATORS: Final = ("eq", "ge", "gt", "le", "lt")
_NUMERIC: Final = ("integer", "length", "version")
_LARGEST_FILE: Final = 64 * 1024 * 1024
_PREDEFINED: Final[dict[str, dict[str, object]]] = {
    "TRUE": {"always_true": {"boolean": True}},
    "FALSE": {"always_false": {"boolean": True}},
    "HTTP": {"proto_http": {"boolean": True}},
    "LOCALHOST": {"client_address": {"cidr": ["127.0.0.0/8", "::1"]}},
    "RDP_COOKIE": {"rdp_cookie": {"found": True}},
    "REQ_CONTENT": {"length": {"integer": ["gt 0"]}},
    "WAIT_END": {"wait_end": {"boolean": True}},
}
_NEED_BYTES: Final = ("HTTP", "RDP_COOKIE", "REQ_CONTENT", "WAIT_END")
_PREDEFINED_NOT_YET: Final = re.compile(r"METH_[A-Z]+|HTTP_[0-9]\.[0-9]|HTTP_CONTENT|HTTP_URL_(ABS|SLASH|STAR)")


@dataclass(frozen=True, slots=True)
class Condition:
    """A native condition, the first word in it that needs what the client sends, and the ACLs it refers to by name."""

    tree: At
    reads: Word | None = None
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class Scope:
    """The ACLs of one proxy, by name; several of one name are alternatives."""

    proxy: str
    diagnostics: Diagnostics
    named: dict[str, list[At]] = field(default_factory=dict)
    reads: dict[str, Word | None] = field(default_factory=dict)
    backends: list[tuple[str, Word]] = field(default_factory=list)  # whose servers are counted, and where

    def define(self, name: Word, words: list[Word]) -> None:
        """An `acl` line. Raises Mistake; the name is known from then on all the same."""
        if not NAME.fullmatch(name.text):
            raise Mistake(name, f"{name.text!r} cannot be the name of an ACL", "letters, digits and -_.: may be in it")
        if name.text.lower() == "or":
            raise Mistake(name, f"{name.text!r} cannot be the name of an ACL", "it stands between conditions")
        alternatives = self.named.setdefault(name.text, [])
        self.reads.setdefault(name.text, None)
        if not words:
            raise Mistake(
                name, f"the ACL {name.text} tests nothing", f"such as acl {name.text} req.ssl_sni example.org"
            )
        test = self._test(words)
        alternatives.append(test.tree)
        self.reads[name.text] = self.reads[name.text] or test.reads

    def tests(self) -> dict[str, object]:
        """The native `tests` of this proxy."""
        never: dict[str, object] = {"always_false": {"boolean": True}}
        return {
            name: alternatives[0] if len(alternatives) == 1 else {"any": list(alternatives)} if alternatives else never
            for name, alternatives in self.named.items()
        }

    def condition(self, words: list[Word], after: str) -> Condition | None:
        """What follows a rule: nothing, or `if`/`unless` and a condition. Raises Mistake."""
        if not words:
            return None
        if words[0].text not in ("if", "unless"):
            raise Mistake(words[0], f"unexpected {words[0].text!r} after {after!r}", "only if or unless may follow")
        found = self._any(words)
        if words[0].text == "unless":
            return Condition(At({"not": found.tree}, found.tree.mark), found.reads, found.names)
        return found

    def _any(self, words: list[Word]) -> Condition:
        """Terms joined by or; within one all parts must hold."""
        terms: list[list[At]] = [[]]
        names: frozenset[str] = frozenset()
        reads: Word | None = None
        at, negated, last = 1, False, words[0]
        while at < len(words):
            word = last = words[at]
            text = word.text
            if text in ("or", "||"):
                if not terms[-1] or negated:
                    raise Mistake(word, f"a condition is missing before {text!r}", "")
                terms.append([])
                at += 1
                continue
            if text.startswith("!"):
                count = len(text) - len(text.lstrip("!"))
                negated ^= count % 2 == 1
                text = text[count:]
                if not text:
                    at += 1
                    continue
            if text == "{":
                end = next((n for n in range(at + 1, len(words)) if words[n].text == "}"), None)
                if end is None:
                    raise Mistake(word, "the { is not closed", "add } with a blank before it")
                if end == at + 1:
                    raise Mistake(word, "there is no test between { and }", "")
                part = self._test(words[at + 1 : end])
                at = end
            else:
                part = self._reference(word, text)
            terms[-1].append(At({"not": part.tree}, part.tree.mark) if negated else part.tree)
            reads = reads or part.reads
            names |= part.names
            negated = False
            at += 1
        if not terms[-1] or negated:
            raise Mistake(last, f"a condition is missing after {last.text!r}", "")
        parts = [term[0] if len(term) == 1 else At({"all": term}, term[0].mark) for term in terms]
        return Condition(parts[0] if len(parts) == 1 else At({"any": parts}, parts[0].mark), reads, names)

    def _reference(self, word: Word, name: str) -> Condition:
        if name not in self.named:
            if name in _PREDEFINED:
                self.named[name] = [At(_PREDEFINED[name], word.mark)]
                self.reads[name] = word if name in _NEED_BYTES else None
            elif _PREDEFINED_NOT_YET.fullmatch(name):
                raise Mistake(word, f"the ACL {name} is HAProxy's, not supported by ferryman yet", "it is about HTTP")
            else:
                hint = "put blanks inside the braces" if "{" in name else nearest(name, self.named)
                raise Mistake(word, f"there is no ACL {name!r} up to here", hint)
        return Condition(At(name, word.mark), self.reads[name], frozenset({name}))

    def _test(self, words: list[Word]) -> Condition:
        """`fetch,converter… flags patterns`. Raises Mistake."""
        expression = sample(words[0], self.proxy)
        method, patterns, ignore_case = self._flags(words, expression)
        if expression.backend:
            self.backends.append((expression.backend, words[0]))
        reads = words[0] if expression.needs == "bytes" else None
        if not method:
            raise Mistake(words[0], f"{words[0].text!r} has no method of its own", "say -m bin, -m str, -m found …")
        mark = span(words)
        if method in ("found", "boolean"):
            if patterns and method == "boolean":
                self.diagnostics.warning(patterns[0].mark, f"{patterns[0].value!r} is ignored, as nothing is compared")
            return Condition(At({expression.text: {method: True}}, mark), reads)
        if method in _NUMERIC:
            patterns = _compared(patterns)
        if not patterns:
            if words[-1].text != "--":
                message = f"this never holds, as there is nothing to compare {words[0].text} with"
                self.diagnostics.warning(mark, message, "-m found asks whether it is there at all")
            return Condition(At({"always_false": {"boolean": True}}, mark))
        options: dict[str, object] = {method: list(patterns)}
        if ignore_case:
            options["ignore_case"] = True
        return Condition(At({expression.text: options}, mark), reads)

    def _flags(self, words: list[Word], expression: Sample) -> tuple[str, list[At], bool]:
        """What follows the expression: (native method, patterns, whether case is ignored)."""
        method, ignore_case, as_map = expression.method, False, False
        files: list[Word] = []
        at = 1
        while at < len(words) and words[at].text.startswith("-") and len(words[at].text) > 1:
            flag = words[at]
            at += 1
            if flag.text == "--":
                break
            if flag.text == "-i":
                ignore_case = True
            elif flag.text == "-M":
                as_map = True
            elif flag.text in ("-m", "-f", "-u"):
                if at == len(words):
                    raise Mistake(flag, f"{flag.text} needs a word after it", "")
                if flag.text == "-m":
                    method = _method(words[at])
                elif flag.text == "-f":
                    files.append(words[at])
                at += 1
            elif flag.text != "-n":
                raise Mistake(flag, f"unknown flag {flag.text}", "put -- before patterns that begin with a -")
        patterns = [pattern for file in files for pattern in _read_patterns(file, as_map)]
        return method, patterns + [At(word.text, word.mark) for word in words[at:]], ignore_case


def _method(word: Word) -> str:
    if word.text not in _METHODS:
        raise Mistake(word, f"unknown method {word.text!r}", nearest(word.text, _METHODS) or "such as str, end or reg")
    return _METHODS[word.text]


def _compared(patterns: list[At]) -> list[At]:
    """Numbers with the operator each of them stands under: an operator counts until the next one."""
    operator, compared = "", []
    for pattern in patterns:
        text = str(pattern.value)
        if text in _OPERATORS:
            operator = "" if text == "eq" else text
        else:
            compared.append(At(f"{operator} {text}".lstrip(), pattern.mark))
    return compared


def _read_patterns(word: Word, as_map: bool) -> list[At]:
    """The patterns in a file, one a line; of a map only the keys. Raises Mistake."""
    path = word.text
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise Mistake(word, f"the pattern file {path!r} is no file")
        if found.st_size > _LARGEST_FILE:
            raise Mistake(word, f"the pattern file {path!r} is larger than {_LARGEST_FILE >> 20} MiB")
        with open(path, encoding="utf-8") as file:
            text = file.read(_LARGEST_FILE)
    except UnicodeDecodeError:
        raise Mistake(word, f"the pattern file {path!r} is not UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Mistake(word, f"cannot read the pattern file {path!r}: {reason}") from None
    patterns: list[At] = []
    for number, line in enumerate(text.split("\n"), start=1):
        pattern = line.rstrip("\r").lstrip(" \t")
        if not pattern or pattern.startswith("#"):
            continue
        column = line.index(pattern[0]) + 1
        if as_map:
            pattern = pattern.split(None, 1)[0]
        patterns.append(At(pattern, Mark(path, number, column, len(pattern))))
    return patterns
