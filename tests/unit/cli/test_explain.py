"""ferryman explain: the story of a connection, as text and as data."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from ferryman.cli.explain import hello
from ferryman.wire.clienthello import ClientHello, parse

from .conftest import Ferryman, Write

TEXT = """\
listeners:
  web:
    bind: "*:8443"
    connection:
      - {action: reject, when: {client_address: 192.0.2.66}}
    inspect:
      - {action: accept, when: {hello_type: 1}}
      - {action: reject}
    routes:
      - {to: api, when: {sni: api.example.org}}
      - {to: shop, when: {sni: "*.example.org"}}
  page:
    bind: 127.0.0.1:9000
    pages: {}
backends:
  api:
    balance: source
    servers:
      - {name: a0, address: "10.0.0.1:443"}
      - {name: a1, address: "10.0.0.2:443"}
  shop:
    servers: ["10.0.1.1:443", "10.0.1.2:443"]
"""
AT = ("--port", "8443", "--client", "192.0.2.7")


def test_the_story_names_rules_backend_and_server(ferryman: Ferryman, write: Write) -> None:
    path = write(TEXT)
    result = ferryman("explain", path, *AT, "--sni", "www.example.org")
    assert result.exit_code == 0
    text = result.stdout
    assert "TLS hello for www.example.org" in text
    assert f"{path}:10  to api if sni is api.example.org" in text
    assert 'sni "www.example.org" is not api.example.org' in text
    assert "server   one of 2, by roundrobin:\n         10.0.1.1:443\n         10.0.1.2:443" in text
    assert "did not hold" in text
    assert f"bound to 0.0.0.0:8443 ({path}:2)" in text


def test_source_stays_with_one_server(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("explain", write(TEXT), *AT, "--sni", "api.example.org")
    assert "server   a1 at 10.0.0.2:443\n         always this one for 192.0.2.7" in result.stdout


def test_a_server_that_is_down_is_passed_over(ferryman: Ferryman, write: Write) -> None:
    path = write(TEXT)
    one = ferryman("explain", path, *AT, "--sni", "api.example.org", "--down", "api/a1")
    assert "server   a0 at 10.0.0.1:443" in one.stdout
    both = ferryman("explain", path, *AT, "--sni", "api.example.org", "--down", "api/a1", "--down", "api/a0")
    assert both.exit_code == 3
    assert both.stdout.endswith("refused  backend api has no server available\n")


def test_a_refusal_is_exit_code_3(ferryman: Ferryman, write: Write) -> None:
    path = write(TEXT)
    result = ferryman("explain", path, "--port", "8443", "--client", "192.0.2.66")
    assert result.exit_code == 3
    assert result.stdout.endswith(f"refused  by the rule at {path}:5\n")
    assert ferryman("explain", path, *AT, "--no-tls").exit_code == 3
    nothing = ferryman("explain", path, "--client", "192.0.2.7", "--port", "1")
    assert nothing.exit_code == 3
    assert "nothing listens on port 1" in nothing.stdout


def test_the_stats_page_is_an_answer(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("explain", write(TEXT), "--client", "127.0.0.1", "--port", "9000")
    assert result.exit_code == 0
    assert "the stats page" in result.stdout


def test_as_json(ferryman: Ferryman, write: Write) -> None:
    result = ferryman("explain", write(TEXT), *AT, "--sni", "api.example.org", "--json")
    told = json.loads(result.stdout)
    assert (told["listener"], told["backend"], told["server"], told["takes_turns"]) == ("web", "api", "a1", False)
    assert [step["outcome"] for step in told["routes"]] == ["held", "not reached", "not reached"]
    assert told["refused"] is None


def test_the_hello_of_a_real_client(ferryman: Ferryman, write: Write, tmp_path: Path) -> None:
    sent = hello("api.example.org", "")
    raw, hexadecimal = tmp_path / "hello.bin", tmp_path / "hello.hex"
    raw.write_bytes(sent)
    hexadecimal.write_text(sent.hex("\n", 32))
    for file in (raw, hexadecimal):
        told = json.loads(ferryman("explain", write(TEXT), *AT, "--hello-file", str(file), "--json").stdout)
        assert (told["sni"], told["backend"]) == ("api.example.org", "api")


def test_the_port_may_be_left_out_where_there_is_one(ferryman: Ferryman, write: Write) -> None:
    assert ferryman("explain", write(TEXT), "--client", "192.0.2.7", "--sni", "api.example.org").exit_code == 0


def test_wrong_arguments(ferryman: Ferryman, write: Write) -> None:
    path = write(TEXT)
    for wrong, said in (
        (("--client", "nobody"), "is not an address"),
        (("--client", "192.0.2.7", "--down", "api"), "BACKEND/SERVER"),
        (("--client", "192.0.2.7", "--down", "api/x"), "there are api/a0, api/a1"),
        (("--client", "192.0.2.7", "--sni", "192.0.2.9"), "clients send names only"),
        (("--client", "192.0.2.7", "--sni", "a.example", "--no-tls"), "exclude each other"),
    ):
        result = ferryman("explain", path, *wrong)
        assert result.exit_code == 2
        assert said in result.stderr


@pytest.mark.parametrize("sni", ["api.example.org", "API.Example.org", "under_score.example.org", ""])
def test_hello_says_what_it_should(sni: str) -> None:
    read = parse(hello(sni, "h2,http/1.1"))
    assert isinstance(read, ClientHello)
    assert (read.sni or "", read.alpn) == (sni, ("h2", "http/1.1"))


def test_hello_refuses_names_that_no_client_can_send() -> None:
    for name in (".example.org", "a" * 64 + ".example.org"):
        with pytest.raises(click.BadParameter):
            hello(name, "")


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        ("192.0.2.7", "192.0.2.7, to"),
        ("192.0.2.7:1024", "192.0.2.7, port 1024, to"),
        ("2001:db8::7", "2001:db8::7, to"),
        ("[2001:db8::7]:1024", "2001:db8::7, port 1024, to"),
    ],
)
def test_clients(ferryman: Ferryman, write: Write, client: str, shown: str) -> None:
    text = TEXT.replace('"*:8443"', '["*:8443", "[::]:8443"]')
    result = ferryman("explain", write(text), "--port", "8443", "--client", client, "--sni", "api.example.org")
    assert f"client   {shown}" in result.stdout


EXPLICIT = """\
listeners:
  out:
    bind: 127.0.0.1:3128
    connect:
      access:
        - {action: deny, when: {target_address: 10.0.0.0/8}}
        - {action: allow, when: {target_port: 443}}
      tls:
        - {action: peek, when: {step: 1}}
        - {action: terminate, when: {sni: bad.example}}
      via:
        - {through: ["http://u:hush@proxy:3128", direct], when: {target_host: "*.example.org"}}
  web: {bind: 127.0.0.1:80, servers: "a:1"}
"""
WISH = ("--client", "127.0.0.1", "--port", "3128", "--resolved", "192.0.2.1", "--target")


def test_the_story_of_an_explicit_proxy(ferryman: Ferryman, write: Write) -> None:
    path = write(EXPLICIT)
    result = ferryman("explain", path, *WISH, "www.example.org:443")
    assert result.exit_code == 0
    text = result.stdout
    assert "CONNECT www.example.org:443, TLS hello for www.example.org" in text
    assert f"did not hold  {path}:6  deny if target_address is in 10.0.0.0/8" in text
    assert f"held          {path}:7  allow if target_port is 443" in text
    assert "tls rules, step 2: the client's hello is there" in text
    assert "target   www.example.org:443, through http://proxy:3128, else directly" in text
    assert "tls      splice" in text
    assert "hush" not in text


def test_what_depends_on_addresses_is_said_to(ferryman: Ferryman, write: Write) -> None:
    arguments = ("--client", "127.0.0.1", "--port", "3128", "--target", "www.example.org:443")
    path = write(EXPLICIT)
    result = ferryman("explain", path, *arguments)
    assert result.exit_code == 0
    said = f"depends  on the addresses of www.example.org, which the rule at {path}:6 looks at: "
    assert f"{said}say what they are with --resolved." in result.stdout
    assert "target   www.example.org:443, through http://proxy:3128, else directly" in result.stdout
    assert json.loads(ferryman("explain", path, *arguments, "--json").stdout)["explicit"]["depends"]


def test_an_explicit_proxy_refuses(ferryman: Ferryman, write: Write) -> None:
    path = write(EXPLICIT)
    result = ferryman("explain", path, *WISH, "a.example:25")
    assert result.exit_code == 3
    assert "refused  403: no access rule allows it" in result.stdout
    result = ferryman("explain", path, *WISH, "bad.example:443", "--json")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert told["refused"] == f"terminate by the rule at {path}:10"
    assert told["explicit"]["action"] == "terminate"
    assert told["explicit"]["ways"] == [[]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--port", "3128"), "the clients of listener out say where they want to go"),
        (("--port", "80", "--target", "a:1"), "the clients of listener web do not say where they want to go"),
        (("--port", "3128", "--target", "a"), "no port"),
        (("--port", "3128", "--user", "x"), "need a --target"),
        (("--port", "3128", "--target", "a:443", "--resolved", "b"), "is not an address"),
        (("--port", "3128", "--target", "a:443", "--resolved", "192.0.2.1", "--user", "x"), "there are no users"),
    ],
)
def test_wishes_that_make_no_sense(ferryman: Ferryman, write: Write, arguments: tuple[str, ...], message: str) -> None:
    result = ferryman("explain", write(EXPLICIT), "--client", "127.0.0.1", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_destination_that_the_connection_names(ferryman: Ferryman, write: Write) -> None:
    path = write(
        "listeners: {any: {bind: '*:8443', to: by-name}}\n"
        "backends: {by-name: {destination: {to: '{sni}:443', names: '*.example.org'}}}\n"
    )
    result = ferryman("explain", path, *AT, "--sni", "www.example.org")
    assert result.exit_code == 0
    assert "\nbackend  by-name (" in result.stdout
    assert "\ntarget   www.example.org:443; the guard looks at its addresses\n" in result.stdout
    told = ferryman("explain", path, *AT, "--sni", "www.example.org", "--json")
    assert json.loads(told.stdout)["destination"] == "www.example.org:443"
    result = ferryman("explain", path, *AT, "--sni", "www.example.com")
    assert result.exit_code == 3
    assert "refused  www.example.com is none of the names that backend by-name leads to" in result.stdout
    assert "needs what this connection does not have: sni" in ferryman("explain", path, *AT, "--no-tls").stdout
