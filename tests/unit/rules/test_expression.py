"""Expressions: text to value and back, and what each says about itself."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.rules.converters import CONVERTERS
from ferryman.rules.expression import Call, Expression, ExpressionError, parse
from ferryman.rules.facts import ABSENT, UNKNOWN, Argument, Facts, Missing, Parameter, Value
from ferryman.rules.fetches import FETCHES


def facts(data: bytes = b"", final: bool = False) -> Facts:
    return Facts("192.0.2.7", 40000, "198.51.100.1", 443, listener="web", data=data, final=final)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sni", Expression(Call("sni"))),
        (" sni | lower ", Expression(Call("sni"), (Call("lower"),))),
        ("payload(0,4)|hex", Expression(Call("payload", (0, 4)), (Call("hex"),))),
        ("payload_lv( 3 , 2 , +5 )", Expression(Call("payload_lv", (3, 2, "+5")))),
        ('text("a, (b) \\"c\\" \\\\")', Expression(Call("text", ('a, (b) "c" \\',)))),
        ("sni|field(-1,.)|upper", Expression(Call("sni"), (Call("field", (-1, ".")), Call("upper")))),
        ('text("")', Expression(Call("text", ("",)))),
        ("text(5)", Expression(Call("text", ("5",)))),
    ],
)
def test_text_is_read(text: str, expected: Expression) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("", "a fact is missing", 0),
        ("snj", 'there is no fact "snj"', 0),
        ("sni|lowr", 'there is no converter "lowr"', 4),
        ("sni|", "a converter is missing", 4),
        ("sni lower", 'unexpected "l"', 4),
        ("payload(0", 'a "," or ")" is missing', 9),
        ("payload(0)", "payload needs 2 arguments, not 1", 0),
        ("payload(0,x)", '"x" is no number', 10),
        ("payload(-1,2)", '"-1" is no number', 8),
        ('payload("0",2)', '"0" is no number', 9),
        ("payload(,2)", "an argument is missing", 8),
        ("sni()", "too many arguments for sni", 4),
        ("rdp_cookie()", "an argument is missing", 11),
        ("sni|bytes(1,2,3)", "too many arguments for bytes", 14),
        ("text(a b)", 'unexpected "b"', 7),
        ("sni" + " " * 5000, "an expression longer than 4096 characters", 4096),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.message, caught.value.offset) == (message, offset)


def test_a_misspelt_name_earns_a_hint() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("client_adress")
    assert caught.value.hint == 'did you mean "client_address"?'


@pytest.mark.parametrize(
    ("text", "type_", "needs"),
    [
        ("client_address", "address", "address"),
        ("client_port", "integer", "address"),
        ("sni", "string", "bytes"),
        ("sni|length", "integer", "bytes"),
        ("payload(0,0)", "binary", "bytes"),
        ("payload(0,9)|bytes(1,2)", "binary", "bytes"),
        ("client_port|bytes(0,1)", "string", "address"),
        ("payload(0,9)|hex|bytes(1,2)", "string", "bytes"),
        ("always_true|not", "boolean", "address"),
        ("usable_servers(web)", "integer", "state"),
        ("wait_end", "boolean", "bytes"),
    ],
)
def test_type_and_needs(text: str, type_: str, needs: str) -> None:
    expression = parse(text)
    assert (expression.type, expression.needs) == (type_, needs)


@pytest.mark.parametrize(
    ("text", "growing", "many"),
    [
        ("length", True, False),
        ("payload(2,0)", True, False),
        ("payload(2,1)", False, False),
        ("alpn", False, True),
        ('alpn|field(1,",")', False, False),
    ],
)
def test_growing_and_many(text: str, growing: bool, many: bool) -> None:
    expression = parse(text)
    assert (expression.growing, expression.many) == (growing, many)


@pytest.mark.parametrize(
    ("text", "data", "final", "expected"),
    [
        ("client_address", b"", False, "192.0.2.7"),
        ("payload(0,2)|hex", b"\x16\x03\x01", False, "1603"),
        ("payload(0,4)|hex", b"\x16\x03\x01", False, UNKNOWN),
        ("payload(0,4)|hex", b"\x16\x03\x01", True, ABSENT),
        ("sni|lower", b"", False, UNKNOWN),
        ("sni|lower", b"", True, ABSENT),
        ("listener|bytes(9)|hex", b"", True, ABSENT),
        ("listener|prepend(be_)|append(_x)|upper", b"", True, "BE_WEB_X"),
        ("local_port|not", b"", True, False),
    ],
)
def test_three_states(text: str, data: bytes, final: bool, expected: Value | Missing) -> None:
    assert parse(text).evaluate(facts(data, final)) == expected


def arguments(parameters: tuple[Parameter, ...], optional: int) -> st.SearchStrategy[tuple[Argument, ...]]:
    kinds: dict[Parameter, st.SearchStrategy[Argument]] = {
        "text": st.text("ab,(|)\" \\'é\n0-", max_size=10),
        "integer": st.integers(-99, 99),
        "size": st.integers(0, 99),
        "offset": st.sampled_from(["0", "7", "+3", "-12"]),
    }
    lengths = st.integers(len(parameters) - optional, len(parameters))
    return lengths.flatmap(lambda n: st.tuples(*(kinds[p] for p in parameters[:n])))


facts_calls = st.sampled_from(sorted(FETCHES)).flatmap(
    lambda name: arguments(FETCHES[name].parameters, FETCHES[name].optional).map(lambda args: Call(name, args))
)
converter_calls = st.sampled_from(sorted(CONVERTERS)).flatmap(
    lambda name: arguments(CONVERTERS[name].parameters, CONVERTERS[name].optional).map(lambda args: Call(name, args))
)


@settings(deadline=None)
@given(st.builds(Expression, facts_calls, st.lists(converter_calls, max_size=3).map(tuple)), st.binary(max_size=40))
def test_whatever_can_be_written_is_read_back_and_evaluated(expression: Expression, data: bytes) -> None:
    assert parse(str(expression)) == expression
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert expression.evaluate(facts(data, final=True)) is not UNKNOWN
