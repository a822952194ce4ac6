"""Destinations that are computed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.rules.facts import ABSENT, Facts
from ferryman.rules.template import TemplateError, parse


class Hello:
    """As much of a hello as is read."""

    def __init__(self, sni: str | None) -> None:
        self.sni = sni


def facts(sni: str | None = None, **fields: object) -> Facts:
    made = Facts("192.0.2.1", 4711, "192.0.2.9", 8443)
    made.hello = Hello(sni)  # type: ignore[assignment]
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("template", "sni", "result"),
    [
        ("{sni}:443", "API.Example.", ("api.example", 443)),
        ("{sni}:{local_port}", "api.example", ("api.example", 8443)),
        ("{sni-2}.internal:443", "a.b.apps.example", ("a.b.internal", 443)),
        ("pre-{sni-1}.x:1{local_port}", "a.example", "'18443'"),
        ("{local_address}:{local_port}", None, ("192.0.2.9", 8443)),
        ("192.0.2.7:443", None, ("192.0.2.7", 443)),
        ("[2001:db8::7]:443", None, ("2001:db8::7", 443)),
        ("{sni}:443", "192.0.2.7", ("192.0.2.7", 443)),
    ],
)
def test_filled(template: str, sni: str | None, result: tuple[str, int] | str) -> None:
    found = parse(template).evaluate(facts(sni))
    if isinstance(result, str):
        assert isinstance(found, tuple)
        assert found[1] == 18443
    else:
        assert found == result


@pytest.mark.parametrize(
    ("template", "sni", "reason"),
    [
        ("{sni}:443", None, "the destination {sni}:443 needs what this connection does not have: sni"),
        ("{original_address}:{original_port}", "a", "needs what this connection does not have: original_address, orig"),
        ("{proxy_port}:443", "a", "does not have: proxy_port"),
        ("{sni}:443", "a b", "'a b' is no host name"),
        ("{sni}:443", "a\0b", "'a\\x00b' is no host name"),
        ("{sni}:443", "ä.example", "'\\xe4.example' is no host name"),
        ("{sni}:443", "a" * 64, "is no host name"),
        ("{sni}:443", ".".join("a" * 63 for _ in range(4)), "...' is no host name"),
        ("{sni}:443", "-a.example", "is no host name"),
        ("{sni-2}.x:443", "a.example", "'.x' is no host name"),
        ("{sni}:9{local_port}", "a", "'98443' is no port"),
        ("{sni}:0", "a", "'0' is no port"),
    ],
)
def test_no_destination(template: str, sni: str | None, reason: str) -> None:
    found = parse(template).evaluate(facts(sni))
    assert isinstance(found, str)
    assert reason in found


def test_where_the_client_wanted_to_go() -> None:
    known = facts(original_address="2001:db8::1", original_port=25)
    assert parse("{original_address}:{original_port}").evaluate(known) == ("2001:db8::1", 25)
    assert parse("[{original_address}]:{original_port}").evaluate(known) == ("2001:db8::1", 25)


def test_no_hello() -> None:
    assert isinstance(parse("{sni}:443").evaluate(facts(hello=ABSENT)), str)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{sni}", "has no host and port"),
        (":443", "has no host and port"),
        ("{sin}:443", "there is no {sin}; there are {sni}, {local_address}"),
        ("{local_port-1}:443", "there is no {local_port-1}"),
        ("{SNI}:443", "has braces around what is no fact"),
        ("{sni:443", "has braces around what is no fact"),
    ],
)
def test_texts_that_are_no_template(text: str, reason: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert reason in str(caught.value)


@given(st.text(max_size=300))
def test_whatever_a_client_asks_for_is_a_host_or_a_reason(sni: str) -> None:
    found = parse("{sni}:443").evaluate(facts(sni))
    if isinstance(found, tuple):
        assert found[0] == sni.lower().rstrip(".")
        assert found[0].isascii()
        assert not set(found[0]) - set("abcdefghijklmnopqrstuvwxyz0123456789.-_:")
    else:
        assert found.isprintable()
