"""The PROXY protocol in haproxy.cfg: `accept-proxy`, `expect-proxy`, `send-proxy` and what belongs to them.

Called by addresses.py and rules.py while lines are read, by native.py and serving.py when all have been. HAProxy's
connection rules see who really connected (manual, 5.1 accept-proxy), all others whom the header names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.haproxy.proxy import Proxy
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Diagnostics

_FLAGS: Final = {
    "send-proxy": ("v1",),
    "send-proxy-v2": ("v2",),
    "send-proxy-v2-ssl": ("v2", "ssl"),
    "send-proxy-v2-ssl-cn": ("v2", "ssl", "cert-cn"),
}
_OPTIONS: Final = ("ssl", "cert-cn", "ssl-cipher", "authority", "crc32c", "unique-id")
_OPTIONS_NOT_YET: Final = ("cert-sig", "cert-key")
_PREFIX: Final = "proxy "  # of what is kept of a server, by flag
_OF_THE_CLIENT: Final = re.compile(r"client_(?=(?:address|port)\b)")
_OF_THE_DOOR: Final = re.compile(r"local_(?:address|port)\b")


def read(keyword: Word, values: list[Word]) -> dict[str, At] | None:
    """What a keyword of a server says of it. None: nothing of the PROXY protocol. Raises Mistake."""
    name = keyword.text.removeprefix("no-")
    on = At(name == keyword.text, keyword.mark)
    if name == "check-send-proxy":
        return {name: on}
    if name in _FLAGS:
        return {_PREFIX + flag: on for flag in _FLAGS[name]}
    if name == "proxy-v2-options":
        return {_PREFIX + option: on for option in _options(values[0])}
    return None


def _options(word: Word) -> Iterator[str]:
    for option in word.text.split(","):
        if option in _OPTIONS_NOT_YET:
            message = f"'proxy-v2-options {option}' is HAProxy's, not supported by ferryman yet"
            raise Mistake(word, message, f"there are {', '.join(_OPTIONS)}")
        if option not in _OPTIONS:
            raise Mistake(word, f"unknown option {option!r} of proxy-v2-options", nearest(option, _OPTIONS))
        yield option


def send_proxy(server: Mapping[str, At], diagnostics: Diagnostics) -> At | None:
    """The native `send_proxy` of a server. As in HAProxy, options alone beget a header, but one of version 1."""
    flags = {key.removeprefix(_PREFIX): at for key, at in server.items() if key.startswith(_PREFIX) and at.value}
    if not flags:
        return None
    if "v2" in flags:
        tlvs = [At(flag, flags[flag].mark) for flag in _OPTIONS if flag in flags]
        return At({"version": "v2", "tlvs": tlvs} if tlvs else "v2", flags["v2"].mark)
    if "v1" not in flags or len(flags) > 1:
        mark = next(at.mark for flag, at in flags.items() if flag != "v1")
        message = "options of version 2 do nothing without 'send-proxy-v2': a header of version 1 is sent"
        diagnostics.warning(mark, message, "write send-proxy-v2")
    return At("v1", next(iter(flags.values())).mark)


def expect(proxy: Proxy, word: Word, arguments: Arguments) -> None:
    """`tcp-request connection expect-proxy layer4 [if { src … }]`. Raises Mistake."""
    layer = arguments.take()
    if layer is None or layer.text != "layer4":
        raise Mistake(layer or word, "'expect-proxy' needs layer4 behind it", "")
    if any(isinstance(rule.value, dict) and rule.value["action"].value == "accept" for rule in proxy.rules.connection):
        message = "'expect-proxy' behind 'tcp-request connection accept' is HAProxy's, not supported by ferryman yet"
        raise Mistake(word, message, "write it before the rules that accept")
    condition = proxy.scope.condition(arguments.rest(), arguments.keyword)
    everybody = proxy.rules.expected is not None and not proxy.rules.expects
    proxy.rules.expected = proxy.rules.expected or arguments.whole
    if condition is None or everybody:
        proxy.rules.expects.clear()
        return
    networks = _networks(condition.tree, proxy.scope.tests())
    if not networks:
        message = "'expect-proxy' on more than networks is HAProxy's, not supported by ferryman yet"
        raise Mistake(condition.tree.mark, message, "write if { src NETWORK … }")
    proxy.rules.expects += networks


def _networks(tree: object, tests: Mapping[str, object]) -> list[At]:
    """The networks of a condition that asks for nothing else; empty: it does."""
    value = tree.value if isinstance(tree, At) else tree
    match value:
        case str():
            return _networks(tests[value], tests)
        case {"any": [*parts]}:
            found = [_networks(part, tests) for part in parts]
            return [network for networks in found for network in networks] if all(found) else []
        case {"client_address": {"cidr": [*patterns]}}:
            return list(patterns)
    return []


def receives(proxy: Proxy) -> bool:
    """Do PROXY headers come to it?"""
    return proxy.rules.expected is not None or any("accept-proxy" in line for line in proxy.binds)


def receive_proxy(proxy: Proxy, diagnostics: Diagnostics) -> At | None:
    """The native `proxy_protocol` of a listener."""
    accepting = [line["accept-proxy"] for line in proxy.binds if "accept-proxy" in line]
    if accepting and len(accepting) == len(proxy.binds):
        return At(True, accepting[0].mark)
    if accepting:
        message = "'accept-proxy' on some of several addresses is HAProxy's, not supported by ferryman yet"
        diagnostics.error(accepting[0].mark, message, "give these a frontend of their own")
        return None
    if proxy.rules.expected is None:
        return None
    return At({"from": list(proxy.rules.expects)} if proxy.rules.expects else True, proxy.rules.expected)


def of_the_peer(proxy: Proxy, rule: At, diagnostics: Diagnostics) -> At:
    """A connection rule, asking about who connected instead of whom the header names."""
    entry = rule.value
    if not isinstance(entry, dict) or "when" not in entry:
        return rule
    when = entry["when"]
    tests = proxy.scope.tests()
    if any(_OF_THE_DOOR.match(fact) for fact in _facts(when, tests)):
        message = "'dst' in 'tcp-request connection' beside PROXY headers is HAProxy's, not supported by ferryman yet"
        diagnostics.error(rule.mark, message, "write it as 'tcp-request session', which sees what the header says")
    return At({**entry, "when": _renamed(when, tests)}, rule.mark)


def _facts(tree: object, tests: Mapping[str, object]) -> Iterator[str]:
    """The native facts that a condition asks for."""
    value = tree.value if isinstance(tree, At) else tree
    if isinstance(value, str):
        yield from _facts(tests[value], tests)
    elif isinstance(value, list):
        for part in value:
            yield from _facts(part, tests)
    elif isinstance(value, dict):
        for key, part in value.items():
            if key in ("all", "any", "not"):
                yield from _facts(part, tests)
            else:
                yield key


def _renamed(tree: object, tests: Mapping[str, object]) -> object:
    """With the peer in place of the client; what is named is written out where that makes a difference."""
    if isinstance(tree, At):
        return At(_renamed(tree.value, tests), tree.mark)
    if isinstance(tree, str):
        named = any(_OF_THE_CLIENT.match(fact) for fact in _facts(tree, tests))
        written = _renamed(tests[tree], tests) if named else tree
        return written.value if isinstance(written, At) else written
    if isinstance(tree, list):
        return [_renamed(part, tests) for part in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        _OF_THE_CLIENT.sub("peer_", key): _renamed(part, tests) if key in ("all", "any", "not") else part
        for key, part in tree.items()
    }
