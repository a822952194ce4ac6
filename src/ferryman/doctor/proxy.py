"""Probes of the proxy: CONNECT without and with credentials, other ports, and whether its 200 means anything.

`examine` gives rows and the form in which credentials are taken, which all later probes use.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from ferryman.config.proxy_url import ProxyUrl
from ferryman.doctor.answer import Foreign, Head, schemes, shown
from ferryman.doctor.path import Path
from ferryman.doctor.report import Check, finding, fine, skipped, unknown
from ferryman.doctor.tlsstream import TlsFault, TlsStream, client_context
from ferryman.doctor.tunnel import Dialer, Reply, Unreached
from ferryman.wire.authority import format_authority

EARLY: Final = 0.4
"""Seconds for a 200 to a name that does not exist, or five times as long as the target's 200 took, if that is more.
Where nothing came it is asked for once more, for four times as long: a machine that stands still for a moment proves
nothing, and no 200 for such a name is right, however late."""

_KEPT: Final = ("server", "via", "proxy-status", "x-squid-error", "proxy-authenticate", "www-authenticate",
                "retry-after", "content-type", "alt-svc")  # fmt: skip
"""Fields that tell who answered, and why."""

_SQUID_CODES: Final = {"ERR_DNS_FAIL": "UPSTREAM_NAME", "ERR_CONNECT_FAIL": "UPSTREAM_FAILED"}
_REFUSED: Final = "111"  # ECONNREFUSED, as Squid adds it to ERR_CONNECT_FAIL
_STATUS_CODES: Final = {
    "dns_error": "UPSTREAM_NAME", "dns_timeout": "UPSTREAM_NAME", "connection_refused": "UPSTREAM_REFUSED",
    "destination_ip_prohibited": "DEST_BLOCKED", "http_request_denied": "DEST_BLOCKED",
    "connection_limit_reached": "PROXY_BUSY",
}  # fmt: skip
"""By the type of error in Proxy-Status (RFC 9209)."""


@dataclass(frozen=True, slots=True)
class Proxied:
    """What is known of the proxy. `form`: the word before the credentials, "" without; `opens`: a tunnel is had."""

    checks: list[Check]
    opens: bool
    form: str = ""
    took: float = 0.0  # seconds until the 200


def examine(path: Path, proxy: ProxyUrl, dialer: Dialer, places: dict[str, str]) -> Proxied:
    """CONNECT to the target, as the migration will."""
    checks: list[Check] = []
    try:
        first = _ask(dialer, proxy, path.host, path.port, "")
    except Unreached as fault:
        return Proxied([_no_tls(proxy, fault, places)], False)
    if proxy.scheme == "https":
        checks.append(finding("connect", "TLS_TO_PROXY", "the proxy speaks TLS, and its certificate is good", places))
    form, last = "", first
    if not first.opened and proxy.user and (first.status in (401, 407) or first.how != "answer"):
        form, last = _with_credentials(path, proxy, dialer)
        if form == "Basic" and last.opened:
            said = "`Proxy-Authorization: Basic` is taken, `basic` is not"
            checks.append(finding("connect", "CASE_SENSITIVE_SCHEME", said, places, **facts(first)))
    elif first.opened and proxy.user:
        checks.append(finding("connect", "OPEN_PROXY", "200 without credentials", places, **facts(first)))
    code, said = judge(last, proxy, bool(form))
    if code in ("DEST_BLOCKED", "CONNECT_REFUSED"):
        code, said = _by_port(path, proxy, dialer, form, code, said, last.status)
    if code in ("CLOSED_WITHOUT_ANSWER", "NOT_A_PROXY", "NO_ANSWER") and _speaks_tls(proxy, dialer):
        code, said = "PROXY_WANTS_TLS", f"{said}, and in TLS it answers"
    if code == "UPSTREAM_FAILED" and not _resolves(dialer, path):
        code, said = "UPSTREAM_NAME", f"{said}; the name does not resolve here either"
    if code:
        return Proxied([*checks, finding("connect", code, said, places, **facts(last))], False)
    how = f"with {form!r} credentials" if form else "without credentials"
    wants = f"; without: {first.status or first.how}" if form else ""
    checks.append(fine("connect", f"{last.status} {how} in {last.seconds * 1000:.1f} ms{wants}", **facts(last)))
    if last.interim:
        said = f"{last.interim[0]} came before the {last.status}"
        checks.append(finding("connect", "INTERIM_ANSWER", said, places, **facts(last)))
    if last.head and last.head.version not in ("1.0", "1.1"):
        said = f"its answer begins with {last.head.line!r}"
        checks.append(finding("connect", "STATUS_LINE_REFUSED", said, places, **facts(last)))
    return Proxied(checks, True, form, last.seconds)


def _with_credentials(path: Path, proxy: ProxyUrl, dialer: Dialer) -> tuple[str, Reply]:
    """`basic` first, since stunnel sends that; `Basic` where it is refused."""
    for form in ("basic", "Basic"):
        reply = _ask(dialer, proxy, path.host, path.port, form)
        if reply.status not in (401, 407):
            return form, reply
    return "basic", reply


def _ask(dialer: Dialer, proxy: ProxyUrl, host: str, port: int, form: str, seconds: float = 0.0) -> Reply:
    reply, tunnel = dialer.ask(proxy, host, port, form, seconds=seconds)
    tunnel.close()
    return reply


def judge(reply: Reply, proxy: ProxyUrl, sent: bool) -> tuple[str, str]:
    """Code and sentence; "" when a tunnel was opened. `sent`: credentials were."""
    head = reply.head
    if head is None:
        return _no_answer(reply, proxy)
    status = head.status
    if status // 100 == 2:
        return "", ""
    if status == 407:
        return _challenged(head, proxy, sent)
    if status == 401:
        return "NONSTANDARD_AUTH", "401 in place of 407: that is how a web server asks, not a proxy"
    if status == 403:
        return "DEST_BLOCKED", f"it denies the target: {head.line}"
    if status == 429 or (status == 503 and head.get("retry-after")):
        return "PROXY_BUSY", head.line
    if status >= 500 and status != 501:
        return _upstream(head)
    if status in (404, 405, 501) or (status == 400 and not head.get("via") and not head.get("proxy-status")):
        return "NOT_A_PROXY", f"it answers CONNECT with {head.line}"
    return "CONNECT_REFUSED", f"it answers CONNECT with {head.line}"


def _no_answer(reply: Reply, proxy: ProxyUrl) -> tuple[str, str]:
    if reply.foreign is Foreign.TLS:
        return "PROXY_WANTS_TLS", "it answers in TLS"
    if reply.foreign is Foreign.HTTP2:
        return "HTTP2_ONLY", "it answers in HTTP/2"
    if reply.foreign is not None:
        return "NOT_HTTP", f"it answers {shown(reply.data, 60)!r}"
    if reply.how == "silent":
        return "NO_ANSWER", f"nothing came in {reply.seconds:.1f} s"
    return "CLOSED_WITHOUT_ANSWER", "it resets the connection" if reply.how == "reset" else "it closes the connection"


def _challenged(head: Head, proxy: ProxyUrl, sent: bool) -> tuple[str, str]:
    offered = schemes(head)
    if "basic" not in (scheme.lower() for scheme in offered):
        return "OTHER_AUTH_ONLY", f"it offers {', '.join(offered) or 'nothing'}, not Basic"
    if not proxy.user:
        return "CREDENTIALS_NEEDED", f"it wants credentials ({', '.join(offered)}) and none were given"
    assert sent
    return "BAD_CREDENTIALS", f"it does not take the password of {shown(proxy.user, 40)!r}"


def _upstream(head: Head) -> tuple[str, str]:
    """A proxy that did not get to the target."""
    word, _, number = head.get("x-squid-error").partition(" ")
    kind = next((part.strip()[6:] for part in head.get("proxy-status").split(";") if "error=" in part), "")
    code = _SQUID_CODES.get(word) or _STATUS_CODES.get(kind) or "UPSTREAM_FAILED"
    if word == "ERR_CONNECT_FAIL" and number == _REFUSED:
        code = "UPSTREAM_REFUSED"
    detail = ", ".join(filter(None, (head.get("x-squid-error"), kind)))
    return code, f"{head.line}{f' ({detail})' if detail else ''}"


def _by_port(
    path: Path, proxy: ProxyUrl, dialer: Dialer, form: str, code: str, said: str, status: int
) -> tuple[str, str]:
    """Is it the port that is denied? 443 tells, which proxies let through if anything."""
    if path.port == 443:
        return code, said
    other = _ask(dialer, proxy, path.host, 443, form)
    if other.status != status and other.status // 100 in (2, 5):  # let through, whether somebody is there or not
        return "PORT_BLOCKED", f"{said}; on port 443 it answers {other.status}"
    return code, said


def _speaks_tls(proxy: ProxyUrl, dialer: Dialer) -> bool:
    """Whether a proxy that was spoken to without TLS takes it."""
    if proxy.scheme == "https":
        return False
    try:
        with dialer.connect(proxy.address.host, proxy.address.port) as tunnel:
            TlsStream(client_context(), proxy.address.host).handshake(tunnel, dialer.patience)
            return True
    except (Unreached, TlsFault):
        return False


def _resolves(dialer: Dialer, path: Path) -> bool:
    """Squid says of a name that does not exist only that it cannot forward: ask here, too."""
    try:
        return bool(dialer.addresses(path.host, path.port))
    except Unreached:
        return False


def _no_tls(proxy: ProxyUrl, fault: Unreached, places: dict[str, str]) -> Check:
    code = "PROXY_CERTIFICATE" if fault.why == "tls" else "ACL_RESET"
    return finding("connect", code, f"{proxy.address}: {fault.text}", places)


def other_ports(path: Path, proxy: ProxyUrl, dialer: Dialer, form: str, places: dict[str, str]) -> list[Check]:
    """A row for the ports that were asked for besides the target's."""
    checks = []
    for port in path.ports:
        place = format_authority(path.host, port)
        try:
            reply = _ask(dialer, proxy, path.host, port, form)
        except Unreached as fault:
            checks.append(unknown("ports", f"{place}: {fault.text}"))
            continue
        if reply.status == 403:
            said = f"CONNECT {place} is denied: {reply.head.line if reply.head else ''}"
            blanks = places | {"port": str(port), "target": place}
            checks.append(finding("ports", "PORT_BLOCKED", said, blanks, **facts(reply)))
        else:
            checks.append(fine("ports", f"{place} is not denied: {reply.status or reply.how}", **facts(reply)))
    return checks or [skipped("ports", "ask for others with --port 6443, as NodePort and ClusterIP need them")]


def nowhere(dialer: Dialer, proxy: ProxyUrl, form: str, took: float) -> tuple[Reply, str]:
    """The answer for a name that cannot exist (RFC 6761 section 6.4), and the name. Raises Unreached."""
    name = f"doctor-{secrets.token_hex(4)}.invalid"
    seconds = max(EARLY, 5 * took)
    reply = _ask(dialer, proxy, name, 443, form, seconds)
    return _ask(dialer, proxy, name, 443, form, 2 * seconds) if reply.how == "silent" else reply, name


def facts(reply: Reply) -> dict[str, str]:
    """What a reply is evidence of."""
    found = {"answer": reply.head.line if reply.head else f"{reply.how} after {reply.seconds:.2f} s"}
    if reply.data and not reply.head:
        found["bytes"] = shown(reply.data, 80)
    for name, value in reply.head.headers if reply.head else ():
        if name.lower() in _KEPT:
            label = shown(name, 40)
            found[label] = f"{found[label]}, {shown(value)}" if label in found else shown(value)
    return found
