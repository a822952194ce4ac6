"""Traps in a squid.conf that is right as it stands: names and ports that are not let through against expectation.

Called by native.py when everything has been read. Only warns. Lines that never decide anything, and inside addresses
that clients can reach, are found by config.compile for all dialects.

`http_access` is played through for a target of which a part is known; whatever else a line asks for may or may not
hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ferryman.config.dialects.squid.acl import Acl
from ferryman.config.dialects.squid.lists import Line
from ferryman.config.dialects.squid.settings import Settings
from ferryman.config.dialects.squid.values import is_address
from ferryman.config.nearest import nearest
from ferryman.config.place import At
from ferryman.config.source import Diagnostics
from ferryman.rules.match import Matcher, PatternError

Known = Mapping[str, str | int]
"""Facts by name."""

_CONNECT: Final[Known] = {"method": "CONNECT", "protocol": "connect"}
_DVM: Final = ("dvm", "rsync", "stunnel")
_API_PORT: Final = 6443
_SHORTEST_SILENCE: Final = 15 * 60.0  # seconds, Squid's default


def check(settings: Settings, diagnostics: Diagnostics) -> None:
    _names(settings, diagnostics)
    _port_names(settings, diagnostics)
    if settings.access:
        _refused(settings, diagnostics)
    silence = settings.times.get("read_timeout")
    if silence is not None and float(str(silence.value)) < _SHORTEST_SILENCE:
        message = "a tunnel that is silent this long is closed, and so is a transfer that takes longer to compare files"
        diagnostics.warning(silence.mark, message, "write 15 minutes or more")


def _used(lines: Iterable[Line]) -> list[Acl]:
    """The ACLs that lines refer to, directly or through others."""
    found: list[Acl] = []
    for line in lines:
        for term in line.terms:
            found += [acl for acl in term.acl.reach() if acl not in found]
    return found


def _names(settings: Settings, diagnostics: Diagnostics) -> None:
    """Names that stand for one host only, where all below them may have been meant."""
    about_tls = _used(settings.bump)
    for acl in [*about_tls, *_used(settings.access)]:
        for value in acl.values if acl.type in ("dstdomain", "ssl::server_name") else ():
            name = str(value.value)
            host = name.replace(".", "").replace("-", "").replace("_", "").isalnum() and not is_address(name)
            if name.startswith(".") or not host or (acl not in about_tls and name.count(".") != 1):
                continue
            below = name if name.count(".") < 2 else name.partition(".")[2]
            message = f"{name!r} is this one name, and none below it"
            hint = f"write .{below} for all names in {below}"
            if not any(finding.mark == value.mark for finding in diagnostics.found):
                diagnostics.warning(value.mark, message, hint)


def _port_names(settings: Settings, diagnostics: Diagnostics) -> None:
    titles = [port.title for port in settings.ports]
    for acl in settings.acls.named.values():
        for value in acl.values if acl.type == "myportname" else ():
            if value.value not in titles:
                hint = nearest(str(value.value), titles) or f"there are {', '.join(titles)}"
                diagnostics.warning(value.mark, f"there is no http_port {value.value!r}: this never holds", hint)


def _refused(settings: Settings, diagnostics: Diagnostics) -> None:
    """Ports and hosts that lines are about, but to which http_access lets nobody."""
    about_tls = _used(settings.bump)
    allowed = [term for line in settings.access if line.action == "allow" for term in line.terms]
    names = [acl.name for acl in about_tls] + [term.acl.name for term in allowed if not term.negated]
    for name in dict.fromkeys(names):
        _refused_by(settings, settings.acls.named[name.lower()], about_tls, diagnostics)


def _refused_by(settings: Settings, acl: Acl, about_tls: Sequence[Acl], diagnostics: Diagnostics) -> None:
    meant = acl in about_tls or any(word in acl.name.lower() for word in _DVM)
    for value in acl.values:
        text = str(value.value)
        if acl.type == "port":
            port = int(text.partition("-")[0])
            known: Known = {**(_CONNECT if meant or port == _API_PORT else {}), "target_port": port}
            target = f"port {port}"
        elif acl.type in ("dstdomain", "ssl::server_name") and acl in about_tls:
            host = f"dvm{text}" if text.startswith(".") else text
            port = _API_PORT if host.startswith(("api.", "api-int.")) else 443
            known = {**_CONNECT, "target_port": port, "target_host": host.lower(), "server_name": host.lower()}
            target = f"{text}, port {port}"
        else:
            continue
        line = refusal(settings, known)
        if line is not None:
            where = f"{line.mark.file}:{line.mark.line}"
            message = f"http_access lets nobody CONNECT to {target}: it is refused at {where}"
            ports = [term.acl.name for term in line.terms if term.negated and term.acl.type == "port"]
            hint = f"add `acl {ports[0]} port {port}`" if ports else "allow it above that line"
            diagnostics.warning(value.mark, message, hint)


def allowance(settings: Settings, known: Known) -> Line | None:
    """The first line by which a request of which this is known may be allowed."""
    for line in settings.access:
        state = _state(line, settings, known)
        if line.action == "allow" and state is not False:
            return line
        if line.action == "deny" and state is True:
            return None
    return settings.access[-1] if settings.access[-1].action == "deny" else None


def refusal(settings: Settings, known: Known) -> Line | None:
    """The line that refuses every request of which this is known; None: some may be allowed."""
    if allowance(settings, known) is not None:
        return None
    for line in settings.access:
        if line.action == "deny" and _state(line, settings, known) is True:
            return line
    return settings.access[-1]


def _state(line: Line, settings: Settings, known: Known) -> bool | None:
    """Does it hold? None: that depends on what is not known."""
    states = []
    for term in line.terms:
        state = truth(term.acl.tree, settings, known)
        states.append(state if state is None else state is not term.negated)
    return False if False in states else None if None in states else True


def truth(tree: object, settings: Settings, known: Known) -> bool | None:
    """What a native condition comes to; None: that depends on what is not known."""
    while isinstance(tree, At):
        tree = tree.value
    if isinstance(tree, str):
        return truth(settings.acls.named[tree.lower()].tree, settings, known)
    assert isinstance(tree, dict)
    if "not" in tree:
        state = truth(tree["not"], settings, known)
        return state if state is None else not state
    for key, decisive in (("any", True), ("all", False)):
        if key in tree:
            states = [truth(part, settings, known) for part in tree[key]]
            return decisive if decisive in states else None if None in states else not decisive
    states = [_test(fact, options, known) for fact, options in tree.items()]
    return False if False in states else None if None in states else True


def _test(fact: str, options: Mapping[str, object], known: Known) -> bool | None:
    if fact in ("always_true", "always_false"):
        return fact == "always_true"
    if fact not in known:
        return None
    method, patterns = next(iter(options.items()))
    assert isinstance(patterns, list)
    texts = [str(pattern.value if isinstance(pattern, At) else pattern) for pattern in patterns]
    try:
        kind = "integer" if method == "integer" else "string"
        return Matcher.build(method, texts, "ignore_case" in options, kind).matches(known[fact])  # type: ignore[arg-type]
    except PatternError:
        return None  # it is reported where it is compiled
