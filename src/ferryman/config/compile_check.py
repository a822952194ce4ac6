"""Health checks: `check` of a server or its backend to plan.Check.

Called by config.compile_backend. A check goes the way that traffic takes, unless it goes to another address.
"""

from __future__ import annotations

from dataclasses import replace

from ferryman.config.compile_tlsconnect import compile_tls_connect
from ferryman.config.compile_tlslimits import check_server_name
from ferryman.config.model import BackendSettings
from ferryman.config.model_check import CheckSettings, HttpCheckSettings, StepSettings, pattern_of, status_ranges
from ferryman.config.model_tls import TlsServerSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Address, Check, Expect, ExpectStatus, Send, SendProxy, Step, Through, TlsConnect

_PORTS = (80, 443)  # that need not be said in Host


def compile_check(
    settings: CheckSettings | bool,
    server: Address,
    traffic: tuple[Through | None, SendProxy | None, TlsConnect | None],
    backend: BackendSettings,
    path: Path,
    report: Report,
) -> Check | None:
    """`traffic`: the proxies, the PROXY header and the TLS that connections get. `path`: of the server."""
    if settings is False:
        return None
    if settings is True:
        settings = CheckSettings()
    own = (*path, "check") if (*path, "check") in report.document.marks else (*path[:-2], "check")
    via, send_proxy, tls = traffic
    address = settings.address
    if address is not None and address.from_client and not address.port and not server.from_client:
        address = Address(address.family, address.host, server.port)
    if (address or server).from_client:
        message = f"which port of {address or server} is to be checked? It depends on the client's"
        report.error(path, message, "add `check: {address: HOST:PORT}`")
    elsewhere = address is not None
    secured = _tls(settings, server, None if elsewhere else tls, tls, own, report)
    if settings.via and via is None:
        report.error((*own, "via"), "there are no proxies on the way to this server", "add `via:` to the backend")
    if not elsewhere and via is not None and settings.via is False:
        report.warning((*own, "via"), "checks go another way than traffic, which goes through `via`", "leave it out")
    header = settings.send_proxy if settings.send_proxy is not None else send_proxy is not None and not elsewhere
    return Check(
        interval=settings.interval,
        fast_interval=settings.fast_interval,
        down_interval=settings.down_interval,
        rise=settings.rise,
        fall=settings.fall,
        timeout=settings.timeout or min(settings.interval, backend.connect_timeout or settings.interval),
        answer_timeout=settings.answer_timeout,
        address=address,
        via=via if (not elsewhere if settings.via is None else settings.via) else None,
        send_proxy=(1 if send_proxy is None else send_proxy.version) if header else 0,
        tls=secured,
        hello=settings.tls == "hello",
        steps=_steps(settings, server, secured, own, report),
    )


def _tls(
    settings: CheckSettings,
    server: Address,
    default: TlsConnect | None,
    traffic: TlsConnect | None,
    own: Path,
    report: Report,
) -> TlsConnect | None:
    """The TLS of a check. `default`: without a word; `traffic`: what connections get."""
    path = (*own, "tls")
    match settings.tls:
        case None:
            found = default
        case False:
            found = None
        case True:
            found = traffic or compile_tls_connect(True, server, path, report)
        case "hello":
            found = compile_tls_connect(True, server, path, report)
            found = None if found is None else replace(found, verify=False)
        case TlsServerSettings() as said:
            found = compile_tls_connect(said, server, path, report)
    if found is None:
        if settings.server_name:
            report.error((*own, "server_name"), "without TLS a server is asked for no name", "add `tls: true`")
        return None
    if settings.server_name:
        check_server_name(settings.server_name, (*own, "server_name"), report)
        found = replace(found, server_name=settings.server_name)
    return replace(found, alpn=("http/1.1",)) if settings.http is not None and found.alpn else found


def _steps(
    settings: CheckSettings, server: Address, tls: TlsConnect | None, own: Path, report: Report
) -> tuple[Step, ...]:
    """What is said and expected."""
    talks = [key for key in ("http", "send", "expect", "steps") if key in settings.model_fields_set]
    for key in talks:
        if settings.tls == "hello":
            report.error(
                (*own, key), "behind `tls: hello` nothing can be said: there is no handshake", "write `tls: true`"
            )
        elif "http" in talks and key != "http":
            report.error((*own, key), f"`{key}` beside `http`: which is meant?", "remove one of them")
        elif "steps" in talks and key in ("send", "expect"):
            report.error((*own, key), f"`{key}` beside `steps`", "make it one of the steps")
    if settings.http is not None:
        request = _request(settings.http, tls, server)
        return Send(request), ExpectStatus(status_ranges(settings.http.status))
    steps: list[Step] = [_step(step, (*own, "steps", number), report) for number, step in enumerate(settings.steps)]
    if settings.send:
        steps.append(Send(settings.send.encode()))
    if settings.expect:
        steps.append(Expect(*pattern_of(settings.expect)))
    return tuple(steps)


def _step(settings: StepSettings, path: Path, report: Report) -> Step:
    said = settings.model_dump(exclude_none=True)
    if len(said) != 1:
        message = "a step says or expects one thing" if said else "a step that says and expects nothing"
        report.error(path, message, "write one of send, send_hex, expect and expect_hex")
    match next(iter(said.items()), None):
        case "send", text:
            return Send(text.encode())
        case "expect", text:
            return Expect(*pattern_of(text))
        case "expect_hex", text:
            return Expect(bytes.fromhex(text))
    return Send(bytes.fromhex(settings.send_hex or ""))


def _request(http: HttpCheckSettings, tls: TlsConnect | None, server: Address) -> bytes:
    """The head. Over HTTP/1.1 the server is asked to close, as there is nothing more to come."""
    host = http.host
    if host is None and http.version == "1.1":
        host = (tls.server_name if tls is not None else "") or _authority(server)
    fields = {"Host": host} if host else {}
    if http.version == "1.1":
        fields["Connection"] = "close"
    lines = [f"{http.method} {http.uri} HTTP/{http.version}"]
    lines += [f"{name}: {value}" for name, value in {**fields, **http.headers}.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _authority(server: Address) -> str:
    if server.family in ("unix", "abstract"):
        return "localhost"
    return str(server) if server.port not in _PORTS else str(server).rpartition(":")[0]
