"""The PROXY protocol of listeners and servers: settings to plan.ReceiveProxy and plan.SendProxy.

Called by config.compile, compile_listener and compile_backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ferryman.config.model_proxy import ReceiveProxySettings, SendProxySettings
from ferryman.config.source import Path, Report
from ferryman.plan import Backend, Listener, ReceiveProxy, SendProxy
from ferryman.rules.networks import Network, Networks, abbreviated, network

_OF_THE_HELLO = ("authority", "alpn")
_OF_THE_HANDSHAKE = ("ssl", "ssl-version", "ssl-cipher", "cert-cn")


def compile_receive_proxy(
    settings: ReceiveProxySettings | bool, path: Path, mode: str, report: Report
) -> ReceiveProxy | None:
    """`path` is that of `proxy_protocol`."""
    if settings is False:
        return None
    if mode == "pages":
        report.error(path, "a listener that shows pages takes no PROXY header", "remove it")
    if settings is True:
        return ReceiveProxy()
    networks = None if settings.senders is None else _networks(settings.senders, (*path, "from"), report)
    return ReceiveProxy(networks, settings.timeout)


def _networks(patterns: Sequence[str], path: Path, report: Report) -> Networks:
    found: list[Network] = []
    for number, pattern in enumerate(patterns):
        at = (*path, number)
        try:
            found.append(network(pattern))
        except ValueError as error:
            report.error(at, str(error), "such as 10.0.0.0/8 or 2001:db8::/32")
            continue
        if (meant := abbreviated(pattern)) is not None:
            report.warning(at, f"{pattern} means {meant[0]}", f"write it so, or {meant[1]} if you meant that")
    return Networks.of(found)


def compile_send_proxy(settings: SendProxySettings | bool, path: Path, report: Report) -> SendProxy | None:
    """`path` is that of `send_proxy`."""
    if isinstance(settings, bool):
        return None
    if settings.tlvs and settings.version == "v1":
        report.error((*path, "tlvs"), "a header of version 1 has no room for TLVs", "write `version: v2`")
    return SendProxy(int(settings.version[1:]), tuple(dict.fromkeys(settings.tlvs)))


def tells_of_handshakes(backends: Sequence[Backend]) -> bool:
    """Is any server told what came of the handshake with the client, which then has to come first?"""
    servers = [server for backend in backends for server in backend.servers]
    servers += [backend.destination.server for backend in backends if backend.destination is not None]
    told = {tlv for server in servers if server.send_proxy is not None for tlv in server.send_proxy.tlvs}
    return not told.isdisjoint(_OF_THE_HANDSHAKE)


def warn_of_unknown_names(listeners: Sequence[Listener], backends: Mapping[str, Backend], report: Report) -> None:
    """Of servers that are to be told what TLS clients ask for, where nobody looks at what these send."""
    for listener in listeners:
        if listener.needs_hello or listener.receive_proxy is not None:
            continue
        for name in dict.fromkeys((listener.default_backend, *(route.backend for route in listener.routes))):
            backend = backends.get(name)
            for server in () if backend is None else backend.servers:
                told = [] if server.send_proxy is None else [t for t in server.send_proxy.tlvs if t in _OF_THE_HELLO]
                if told:
                    what = " and ".join(told)
                    message = f"{server.backend}/{server.name} is told no {what} from here: nothing reads clients' TLS"
                    report.warning(("listeners", listener.name), message, "let a rule ask for sni")
                    break
