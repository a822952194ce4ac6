"""Health checks that look beyond the connection: HAProxy's words for the same servers, and the way of traffic."""

from __future__ import annotations

import csv
import datetime
import io
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from ferry import Ferry, free_port, until
from programs import Peer, nginx, program, stunnel, tinyproxy
from servers import Authority, EchoServer
from squid import HELPERS, Squid
from squid import folder as squid_folder
from test_operating import ask

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


class Site:
    """nginx with several ports, a server that sends everything back, and one that never answers."""

    def __init__(self, folder: Path, authority: Authority, stack: ExitStack) -> None:
        self.good, self.expired, self.behind = free_port(), free_port(), free_port()
        for name, options in (("good", {}), ("expired", {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY})):
            leaf = authority.ca.issue_cert("web.example", **options)  # type: ignore[arg-type]
            leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
        pages = "location /broken { return 500; } location / { return 200 fine; }"
        secure = "}} server {{ listen 127.0.0.1:{} ssl; ssl_certificate {}; ssl_certificate_key {}; " + pages.replace(
            "{", "{{"
        ).replace("}", "}}")
        files = [str(folder / f"{name}.pem") for name in ("good", "expired")]
        text = pages + "".join(
            secure.format(port, file, file) for port, file in zip((self.good, self.expired), files, strict=True)
        )
        text += f"}} server {{ listen 127.0.0.1:{self.behind} proxy_protocol; {pages}"
        self.nginx: Peer = nginx(folder, text)
        stack.callback(self.nginx.stop)
        echo = EchoServer()
        stack.callback(echo.close)
        self.echo = echo.address
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.silent = f"127.0.0.1:{silent.getsockname()[1]}"
        self.ca = authority.file


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), authority, stack)


CHECKS = """
backend web
    option httpchk GET /
    server fine {nginx} check
    server secure 127.0.0.1:{good} ssl verify required ca-file {ca} check check-sni web.example
    server header 127.0.0.1:{behind} check send-proxy-v2
    server headless 127.0.0.1:{behind} check
    server other {echo} check
    server silent {silent} check
    server gone 127.0.0.1:1 check
backend broken
    option httpchk GET /broken HTTP/1.1
    http-check send hdr Host web.example
    server wrong {nginx} check
    server secure 127.0.0.1:{good} check check-ssl verify none
backend expecting
    option httpchk OPTIONS /broken
    http-check expect rstatus ^5
    server wrong {nginx} check
backend secured
    server fine 127.0.0.1:{good} ssl verify required ca-file {ca} check
    server named 127.0.0.1:{good} ssl verify required ca-file {ca} check check-sni web.example
    server misnamed 127.0.0.1:{good} ssl verify required ca-file {ca} check check-sni other.example
    server expired 127.0.0.1:{expired} ssl verify required ca-file {ca} check
    server unverified 127.0.0.1:{expired} ssl verify none check
    server plain {echo} ssl verify none check
    server silent {silent} ssl verify none check
    server unasked {silent} ssl verify none check no-check-ssl
backend hello
    option ssl-hello-chk
    server fine 127.0.0.1:{good} check
    server silent {silent} check
backend talk
    option tcp-check
    tcp-check send PING\\r\\n
    tcp-check expect string PING
    tcp-check send-binary 00ff
    tcp-check expect binary 00ff
    server fine {echo} check
    server silent {silent} check
backend refused
    option tcp-check
    tcp-check connect ssl
    tcp-check send QUIT\\r\\n
    tcp-check expect rstring ^220
    server web 127.0.0.1:{good} check verify none
"""


def outcomes(answer: str) -> dict[str, tuple[str, str]]:
    """Of `show stat`: status and code by server."""
    rows = csv.DictReader(io.StringIO(answer.removeprefix("# ")))
    return {
        f"{row['pxname']}/{row['svname']}": (row["check_status"].removeprefix("* "), row["check_code"])
        for row in rows
        if row["svname"] not in ("FRONTEND", "BACKEND")
    }


def numbers(answer: str) -> dict[str, str]:
    """Of `show servers state`: the number of the status by server."""
    lines = [line.split() for line in answer.splitlines()[1:] if line]
    rows = [dict(zip(lines[0][1:], line, strict=False)) for line in lines[1:]]
    return {f"{row['be_name']}/{row['srv_name']}": row["srv_check_status"] for row in rows}


def test_the_same_words_and_numbers_as_haproxy(
    run_ferry: Callable[..., Ferry], site: Site, tmp_path: Path, at_the_end: ExitStack
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    values = {**vars(site), "nginx": site.nginx.address}
    text = (
        f"global\n    stats socket {{}} level admin\ndefaults\n    mode tcp\n    timeout connect 2s\n"
        f"    timeout server 2s\n    timeout check 1s\n    default-server inter 1s\n{CHECKS.format(**values)}"
        f"frontend f\n    bind 127.0.0.1:{{}}\n    timeout client 2s\n    default_backend web\n"
    )
    run_ferry(text.format(ours, free_port()), "haproxy.cfg")
    file = tmp_path / "theirs.cfg"
    file.write_text(text.format(theirs, free_port()))
    haproxy = subprocess.Popen([program("haproxy"), "-db", "-f", str(file)], stdout=-3, stderr=-3)
    at_the_end.callback(haproxy.wait)
    at_the_end.callback(haproxy.terminate)
    until(theirs.exists, "haproxy to start")

    def settled(path: Path) -> bool:
        found = outcomes(ask(path, "show stat"))
        return len(found) == CHECKS.count("    server ") and all(
            status not in ("", "INI", "UNK") for status, _ in found.values()
        )

    for path in (theirs, ours):
        until(lambda path=path: settled(path), f"all checks to have ended: {path}")  # type: ignore[misc]

    def agree() -> bool:
        """Not at once where a check took longer than it may: the next one tells."""
        return outcomes(ask(ours, "show stat")) == outcomes(ask(theirs, "show stat")) and numbers(
            ask(ours, "show servers state")
        ) == numbers(ask(theirs, "show servers state"))

    with suppress(AssertionError):  # it is told better below
        until(agree, "the same of both")
    assert outcomes(ask(ours, "show stat")) == outcomes(ask(theirs, "show stat"))
    assert numbers(ask(ours, "show servers state")) == numbers(ask(theirs, "show servers state"))


def test_checks_go_through_the_proxy_that_traffic_goes_through(
    run_ferry: Callable[..., Ferry], site: Site, tmp_path: Path
) -> None:
    proxy = tinyproxy(tmp_path, f"ConnectPort {site.good}")
    try:
        ferry = run_ferry(f"""
listeners: {{f: {{bind: "127.0.0.1:{free_port()}", to: b}}}}
global: {{workers: 1}}
backends:
  b:
    via: http://{proxy.address}
    tls: {{ca: {site.ca}, server_name: web.example}}
    check: {{interval: 200ms, timeout: 1m, http: /}}
    servers:
      - {{name: fine, address: "127.0.0.1:{site.good}"}}
      - {{name: refused, address: "127.0.0.1:{site.expired}"}}
      - {{name: broken, address: "127.0.0.1:{site.good}", check: {{interval: 200ms, timeout: 1m, http: /broken}}}}
""")
        until(lambda: ferry.server("broken")["status"] == "DOWN", "the broken one to go down")
        until(lambda: ferry.server("refused")["status"] == "DOWN", "the refused one to go down")
        until(lambda: ferry.server("fine")["status"] == "UP", "the fine one to be up")
        assert "Server b/broken is DOWN, reason: Layer7 wrong status, code: 500, info: " in ferry.log
        refusal = f'Layer4 connection problem, info: "proxy {proxy.address} answered 403 '
        assert f"Server b/refused is DOWN, reason: {refusal}" in ferry.log
    finally:
        proxy.stop()


HASH = "$apr1$saltsalt$RhrstTEBCn/j/8nUcBYRt1"
PASSWORD = "se%3Acr%25t-p%C3%A4ss"


class Proxies:
    """A SOCKS5 server and Squid's https_port, both with a password, and tinyproxy behind a stunnel of another name."""

    def __init__(
        self, run: Callable[..., Ferry], site: Site, authority: Authority, folder: Path, end: ExitStack
    ) -> None:
        self.socks5, self.https = free_port(), free_port()
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:
  socks5:
    bind: "127.0.0.1:{self.socks5}"
    connect:
      protocols: socks5
      users: {{bob: "{HASH}"}}
      egress_allow: 127.0.0.1
      access: [{{action: allow, when: {{user: bob, target_port: [{site.good}, {site.behind}, 1]}}}}]
""")
        place = end.enter_context(squid_folder())
        certificate, users = place / "proxy.pem", place / "users"
        authority.ca.issue_cert("proxy.example").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        certificate.chmod(0o644)
        users.write_text(f"bob:{HASH}\n")
        text = f"""
https_port 127.0.0.1:{self.https} tls-cert={certificate}
auth_param basic program {HELPERS}/basic_ncsa_auth {users}
auth_param basic children 1
acl known proxy_auth REQUIRED
acl web port {site.good}
http_access deny !web
http_access allow known
http_access deny all
"""
        end.callback(Squid(place, text, self.https).close)
        behind = tinyproxy(folder)
        end.callback(behind.stop)
        other = str(folder / "other.pem")
        authority.ca.issue_cert("other.example").private_key_and_cert_chain_pem.write_to_path(other)
        self.misnamed = stunnel(folder, "stunnel", f"cert = {other}\nconnect = {behind.address}")
        end.callback(self.misnamed.stop)


def test_checks_go_through_socks5_and_https_proxies(
    run_ferry: Callable[..., Ferry], site: Site, authority: Authority, tmp_path: Path, at_the_end: ExitStack
) -> None:
    """Which proxy refuses, and why, is what a check finds; where one of several ways leads there, the server is up."""
    proxies = Proxies(run_ferry, site, authority, tmp_path, at_the_end)
    socks5, https = f"127.0.0.1:{proxies.socks5}", f"127.0.0.1:{proxies.https}"
    secure = f"ca: {site.ca}, server_name: proxy.example"
    ways = {
        "socks5": f'"socks5://bob:{PASSWORD}@{socks5}"',
        "wrong": f'"socks5://bob:wrong@{socks5}"',
        "https": f'{{url: "https://bob:{PASSWORD}@{https}", {secure}}}',
        "unknown": f'{{url: "https://{https}", {secure}}}',
        "misnamed": f'{{url: "https://{proxies.misnamed.address}", {secure}}}',
    }
    ways["either"] = f"[{ways['misnamed']}, {ways['socks5']}]"
    check = "{interval: 500ms, timeout: 1m, http: /}"
    backends = "".join(
        f"""
  {name}:
    via: {way}
    tls: {{ca: {site.ca}, server_name: web.example}}
    check: {check}
    servers:
      - {{name: {name}-good, address: "127.0.0.1:{site.good}"}}
      - {{name: {name}-closed, address: "127.0.0.1:1"}}
      - {{name: {name}-forbidden, address: "127.0.0.1:{site.expired}"}}"""
        for name, way in ways.items()
    )
    ferry = run_ferry(f"""
global: {{workers: 1}}
listeners: {{f: {{bind: "127.0.0.1:{free_port()}", to: socks5}}}}
backends:{backends}
  header:
    via: {ways["socks5"]}
    send_proxy: v2
    check: {check}
    servers: [{{name: header-good, address: "127.0.0.1:{site.behind}"}}]
""")

    def found(name: str) -> str:
        """Words of the last check; "": there was none."""
        state = ferry.server(name)["state"]
        status, said = state["check_status"], state["check_description"]
        return "" if status == "INI" else status if status == "L7OK" else f"{status} {said}"

    refused = {
        "good": {
            "wrong": f"L4CON proxy {socks5}: wrong user or password",
            "unknown": f"L4CON proxy {https} answered 407 Proxy Authentication Required",
            "misnamed": f"L4CON proxy {proxies.misnamed.address}: its certificate: Hostname mismatch, certificate is "
            "not valid for 'proxy.example'.",
        },
        "closed": {"socks5": f"L4CON proxy {socks5}: the target refused the connection"},
        "forbidden": {
            "socks5": f"L4CON proxy {socks5}: its rules do not allow the connection",
            "https": f"L4CON proxy {https} answered 403 Forbidden",
        },
    }
    wanted = {f"{name}-{server}": said for server, names in refused.items() for name, said in names.items()}
    wanted |= {f"{name}-good": "L7OK" for name in ("socks5", "https", "either", "header")}
    for name in wanted:
        until(lambda name=name: found(name), f"a check of {name}")  # type: ignore[misc]
    assert {name: found(name) for name in wanted} == wanted
    proxies.ferry.line(lambda line: line.get("user") == "bob" and line["target"] == f"127.0.0.1:{site.good}")
