"""Out through HTTPS proxies of other people: Squid's https_port, and tinyproxy behind a stunnel that speaks TLS for it.

What test_chains shows with ferryman at both ends is shown here with theirs at the other: whom they are verified as,
what becomes of their 407, and which way is taken when one of them cannot be trusted.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import programs
import pytest
from ferry import Ferry, free_port
from origin import Origin
from servers import Authority, EchoServer, TlsServer
from squid import HELPERS, Squid, need
from squid import folder as squid_folder
from talk import Answer, Talk, basic

PASSWORD = "se:cr%t-päss"
IN_URL = "se%3Acr%25t-p%C3%A4ss"
HTPASSWD = "bob:$apr1$saltsalt$RhrstTEBCn/j/8nUcBYRt1\n"
ALLOW = "egress_allow: [127.0.0.0/8]"


class Site:
    """A ferryman with a listener for each way out, and the proxies that they lead through."""

    def __init__(self, run: Callable[..., Ferry], authority: Authority, folder: Path, end: ExitStack) -> None:
        self.authority = authority
        self.echo, self.origin = EchoServer(), Origin()
        self.tls = TlsServer("origin", authority, ["origin.test"], "127.0.0.1")
        for server in (self.echo, self.origin, self.tls):
            end.callback(server.close)
        need()
        self.squid, self.squid_plain = free_port(), free_port()
        place = end.enter_context(squid_folder())
        end.callback(Squid(place, self._squid_conf(place), self.squid).close)
        self.tinyproxy = programs.tinyproxy(folder, "BasicAuth tiny pAss0word")
        end.callback(self.tinyproxy.stop)
        authority.ca.issue_cert("other.test").private_key_and_cert_chain_pem.write_to_path(str(folder / "other.pem"))
        service = f"cert = {folder / 'other.pem'}\nconnect = {self.tinyproxy.address}"
        self.stunnel = programs.stunnel(folder, "stunnel", service)
        end.callback(self.stunnel.stop)
        self.ways = self._ways()
        self.ports = {name: free_port() for name in self.ways}
        self.backend = free_port()
        listeners = "".join(
            f"""
  {name}:
    bind: 127.0.0.1:{self.ports[name]}
    connect: {{{ALLOW}, via: [{{through: {way}}}]}}"""
            for name, way in self.ways.items()
        )
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:{listeners}
  backend: {{bind: "127.0.0.1:{self.backend}", to: far}}
backends:
  far: {{servers: ["{self.echo.address}"], via: {self.ways["squid"]}}}
""")

    def _squid_conf(self, place: Path) -> str:
        """Its certificate is for a name and an address; who has the password may go anywhere but to port 1."""
        leaf = self.authority.ca.issue_cert("localhost", "127.0.0.1", "proxy.test")
        certificate, users = place / "proxy.pem", place / "users"
        leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        certificate.chmod(0o644)
        users.write_text(HTPASSWD)
        return f"""
https_port 127.0.0.1:{self.squid} tls-cert={certificate}
http_port 127.0.0.1:{self.squid_plain}
auth_param basic program {HELPERS}/basic_ncsa_auth {users}
auth_param basic children 1
auth_param basic utf8 off
acl known proxy_auth REQUIRED
acl forbidden port 1
http_access deny forbidden
http_access allow known
http_access deny all
"""

    def _ways(self) -> dict[str, str]:
        ca = f"ca: {self.authority.file}"
        bob = f"bob:{IN_URL}@"
        squid, stunnel = f"https://{bob}127.0.0.1:{self.squid}", f"https://tiny:p%41ss0word@{self.stunnel.address}"
        good = f'{{url: "{squid}", {ca}}}'
        other = f'{{url: "{stunnel}", {ca}, server_name: other.test}}'
        untrusted, misnamed = f'{{url: "{squid}"}}', f'{{url: "{stunnel}", {ca}, server_name: proxy.test}}'
        wrong = f'{{url: "https://bob:wrong@127.0.0.1:{self.squid}", {ca}}}'
        plain = f'{{url: "https://127.0.0.1:{self.squid_plain}", {ca}}}'
        return {
            "squid": good,
            "squid_by_name": f'{{url: "https://{bob}localhost:{self.squid}", {ca}}}',
            "squid_named": f'{{url: "{squid}", {ca}, server_name: proxy.test}}',
            "stunnel": other,
            "row": f"[[{other}, {good}]]",
            "row_turned": f"[[{good}, {other}]]",
            "unverified": f'{{url: "{squid}", verify: false}}',
            "untrusted": untrusted,
            "misnamed": misnamed,
            "by_address": f'{{url: "{stunnel}", {ca}}}',
            "no_tls": plain,
            "wrong": wrong,
            "bare": f'{{url: "https://127.0.0.1:{self.squid}", {ca}}}',
            "client": f'{{url: "https://127.0.0.1:{self.squid}", {ca}, credentials: client}}',
            "after_untrusted": f"[{untrusted}, {other}]",
            "after_misnamed": f"[{misnamed}, {good}]",
            "after_no_tls": f"[{plain}, {good}]",
            "after_bad_second": f"[[{good}, {misnamed}], {other}]",
            "then_direct": f"[{untrusted}, direct]",
            "after_407": f"[{wrong}, {other}]",
        }

    def talk(self, way: str) -> Talk:
        return Talk(self.ports[way])

    def refusal(self, way: str, target: str = "") -> Answer:
        with self.talk(way) as talk:
            return talk.connect(target or self.echo.address)


@pytest.fixture(scope="module")
def site(
    run_shared_ferry: Callable[..., Ferry],
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    at_the_end: ExitStack,
) -> Site:
    return Site(run_shared_ferry, authority, tmp_path_factory.mktemp("peers"), at_the_end)


GOOD = ["squid", "squid_by_name", "squid_named", "stunnel", "row", "row_turned", "unverified"]
FAILOVER = ["after_untrusted", "after_misnamed", "after_no_tls", "after_bad_second", "then_direct"]


@pytest.mark.parametrize("way", GOOD + FAILOVER)
def test_a_tunnel(site: Site, way: str) -> None:
    """Bytes sent ahead, and more of them than any buffer holds, in both directions at once."""
    with site.talk(way) as talk:
        talk.send(f"CONNECT {site.echo.address} HTTP/1.1\r\nHost: {site.echo.address}\r\n\r\nahead")
        answer = talk.answer("CONNECT")
        assert answer.status == 200, answer
        assert talk.exactly(5) == b"ahead"
        for _ in range(5):
            piece = os.urandom(100_000)
            talk.send(piece)
            assert talk.exactly(len(piece)) == piece


@pytest.mark.parametrize("way", ["squid", "stunnel", "row", "after_misnamed"])
def test_plain_requests(site: Site, way: str) -> None:
    with site.talk(way) as talk:
        for path in ("/say/one", "/chunks/300000", "/say/two"):
            talk.send(f"GET http://{site.origin.address}{path} HTTP/1.1\r\nHost: {site.origin.address}\r\n\r\n")
            answer = talk.answer()
            assert answer.status == 200, answer
        assert answer.body == b"two"
    assert not site.origin.received[-1].all("proxy-authorization")


@pytest.mark.parametrize("way", ["squid", "stunnel", "row"])
def test_curl_sees_the_origins_own_certificate(site: Site, way: str) -> None:
    """TLS to the origin, within TLS to the proxy."""
    done = programs.run(
        "curl", "-sS", "--proxy", f"http://127.0.0.1:{site.ports[way]}", "--noproxy", "",
        "--cacert", site.authority.file, "--connect-to", f"origin.test:443:127.0.0.1:{site.tls.port}",
        "https://origin.test/",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "origin\n"), done.stderr


def test_servers_of_a_backend(site: Site) -> None:
    with Talk(site.backend) as talk:
        talk.send(b"plain bytes")
        assert talk.exactly(11) == b"plain bytes"


# verification


@pytest.mark.parametrize(
    ("way", "error", "why"),
    [
        ("untrusted", "tls_certificate_error", "unable to get local issuer certificate"),
        ("misnamed", "tls_certificate_error", "proxy.test"),
        ("by_address", "tls_certificate_error", "127.0.0.1"),
        ("no_tls", "tls_protocol_error", ""),
    ],
)
def test_a_proxy_that_is_not_who_it_should_be_gets_no_request(site: Site, way: str, error: str, why: str) -> None:
    before = site.echo.heard()
    answer = site.refusal(way)
    assert (answer.status, answer.error) == (502, error), answer
    assert why in answer.body.decode()
    assert "received-status" not in answer.get("proxy-status"), "it was not asked"
    assert site.echo.heard() == before
    line = site.ferry.line(lambda line: line["listener"] == way)
    assert (line["error"], line["ended_by"]) == (error, "server")
    assert line["reason"] in answer.body.decode()


# credentials


@pytest.mark.parametrize("way", ["wrong", "bare"])
def test_wrong_credentials_of_ours_are_not_asked_of_the_client(site: Site, way: str) -> None:
    answer = site.refusal(way)
    assert (answer.status, answer.get("proxy-authenticate")) == (502, "")
    assert "received-status=407" in answer.get("proxy-status")
    assert f"proxy 127.0.0.1:{site.squid} answered 407" in answer.body.decode()


def test_no_other_proxy_is_asked_for_another_opinion(site: Site) -> None:
    assert "received-status=407" in site.refusal("after_407").get("proxy-status")


def test_the_clients_own_credentials(site: Site) -> None:
    """Squid's challenge reaches the client, which answers it on the same connection."""
    with site.talk("client") as talk:
        answer = talk.connect(site.echo.address)
        assert answer.status == 407
        assert answer.get("proxy-authenticate").startswith('Basic realm="Squid')
        assert talk.connect(site.echo.address, basic("bob", "wrong")).status == 407
        assert talk.connect(site.echo.address, basic("bob", PASSWORD)).status == 200
        talk.send(b"through")
        assert talk.exactly(7) == b"through"


def test_a_refusal_is_passed_on_with_its_status(site: Site) -> None:
    answer = site.refusal("squid", "127.0.0.1:1")
    assert (answer.status, answer.error) == (403, "http_request_denied")
    assert "received-status=403" in answer.get("proxy-status")
    answer = site.refusal("row_turned", "127.0.0.1:2")
    assert answer.status == 500, "tinyproxy's word for a connection that is refused"


def test_the_log_names_the_proxies_and_no_secrets(site: Site) -> None:
    with site.talk("row") as talk:
        assert talk.connect(site.echo.address).status == 200
    line = site.ferry.line(lambda line: line["listener"] == "row" and line["code"] == "--")
    assert line["via"] == f"https://{site.stunnel.address} https://127.0.0.1:{site.squid}"
    for secret in (PASSWORD, IN_URL, "pAss0word", "wrong@", basic("bob", PASSWORD).rpartition(" ")[2]):
        assert secret not in site.ferry.log
        assert base64.b64encode(secret.encode()).decode() not in site.ferry.log
