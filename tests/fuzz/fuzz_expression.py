"""Any text is either an expression that prints back to itself and has a value, or an ExpressionError with a place.

That is: nothing else is raised, by parsing or by evaluating, and final facts leave nothing unknown.
"""

from __future__ import annotations

import driver

from ferryman.rules.expression import ExpressionError, parse
from ferryman.rules.facts import UNKNOWN, Facts

SEEDS = [
    b"sni",
    b"sni|lower|field(-1,.)",
    b"payload(0,4)|hex",
    b"payload_lv(43,1,+2)|length|not",
    b'text("a, (b) \\"c\\" \\\\")|upper',
    b'rdp_cookie(mstshash)|word(1,"|,")',
    b" usable_servers ( pool ) | prepend( x ) | append( y )",
    b"alpn|bytes(0,2)",
    b"capture(0)|bytes(3)",
]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        expression = parse(text)
    except ExpressionError as error:
        if not 0 <= error.offset <= len(text):
            raise
        return
    written = str(expression)
    assert parse(written) == expression
    assert str(parse(written)) == written
    facts = Facts("192.0.2.7", 1, "::1", 2, data=data, captures=["x"], usable_servers={"pool": 1})
    expression.evaluate(facts)
    facts.final = True
    assert expression.evaluate(facts) is not UNKNOWN


if __name__ == "__main__":
    driver.main(one, SEEDS)
