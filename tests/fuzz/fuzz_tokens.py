"""What is pasted or asked is what one end said, or it is refused without showing it; a token names network places only.

That is: of both tokens, of the doctor's signed questions and answers, and of the messages of a migration.
"""

from __future__ import annotations

import re
from contextlib import suppress

import driver

from ferryman.doctor import pairing
from ferryman.migrate import claim, token

SECRET = bytes(range(16))
NONCE = "0123456789abcdef" * 2
FAR = pairing.Token(bytes(32), SECRET, "dvm.apps.test", 443, True)
SERVED = token.Token(("192.0.2.7:6443", "[2001:db8::7]:6443"), "5e" * 32, bytes(32), "dvm.example.org")
TOLD = pairing.tell(SECRET, NONCE, dict.fromkeys(pairing.TOLD, "x"))
SEEDS = [
    *(FAR.text().encode(), SERVED.text().encode(), pairing.ask(SECRET, "echo", NONCE), TOLD),
    *(b'{"error": "no \\u001b[2J"}', b'{"password": "aB-_3"}', b'{"password": "\\ud800"}', b"[" * 2000),
    *(token.PREFIX.encode() + b"e30", pairing.PREFIX.encode() + b"e30", b'{"told": "{}", "signed": "0"}'),
]
PLACE = re.compile(r"[A-Za-z0-9._:%\[\]-]+:[0-9]{1,5}")


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        read = token.parse(text)
    except ValueError as error:
        refusal = str(error)
        assert not any(text[at : at + 12] in refusal for at in range(12, len(text) - 12, 12))
    else:
        assert token.parse(read.text()) == read
        assert all(PLACE.fullmatch(each) for each in read.addresses)
        assert read.secret.hex() not in repr(read)
    with suppress(ValueError):
        far = pairing.parse_token(text)
        assert pairing.parse_token(far.text()) == far
        assert not far.host or far.host.isprintable()
    asked = pairing.asked(SECRET, data)
    assert asked is None or pairing.ask(SECRET, *asked[:2]) == data[: asked[2]]
    told = pairing.told(SECRET, NONCE, data)
    assert told is None or set(told) == set(pairing.TOLD)
    with suppress(ValueError):
        message = claim.parse(data)
        assert claim.refusal(message).isprintable()
        password = claim.password(message)
        assert password.isascii()
        assert password.isprintable()


if __name__ == "__main__":
    driver.main(one, SEEDS)
