"""The token that `migrate serve` prints and the other end is given.

It holds where the serving end is, the SHA-256 of its certificate, and a secret of 32 random bytes. It holds no key:
the client makes a key of its own, reaches the server (which it knows by the fingerprint), and *claims* the migration
with the secret and its own certificate (migrate.claim). From then on the server wants exactly that certificate, for
everything, and the secret is worth nothing: a token that was copied, pasted into the wrong window or stolen later opens
no second migration, and whoever tries is told so, as is the log of the server. If a thief is quicker, then it is the
rightful client who is told, and no volume has been read. A token with the client's key in it would not have that: the
two could not be told apart.

Pure: text to a value and back. A token is one word; its end tells whether all of it was copied.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "fmt1-"
SECRET: Final = 32  # bytes
_LONGEST: Final = 4096
_FINGERPRINT: Final = 32  # bytes of a SHA-256
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{0,253}")


@dataclass(frozen=True, slots=True)
class Token:
    """`addresses`: host:port each, in order of preference; `fingerprint` in hexadecimal; `name` is asked for as SNI."""

    addresses: tuple[str, ...]
    fingerprint: str
    secret: bytes = field(repr=False)
    name: str = ""

    def text(self) -> str:
        """One word."""
        data = {
            "a": list(self.addresses),
            "f": base64.b64encode(bytes.fromhex(self.fingerprint)).decode(),
            "s": base64.b64encode(self.secret).decode(),
            **({"n": self.name} if self.name else {}),
        }
        raw = json.dumps(data, separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(raw + zlib.crc32(raw).to_bytes(4, "big")).decode().rstrip("=")


def is_token(text: str) -> bool:
    """Does it look like one? A folder of such a name is written ./fmt1-…"""
    return text.startswith(PREFIX)


def parse(text: str) -> Token:
    """Raises ValueError; the message never has the token in it."""
    text = "".join(text.split())  # terminals and mail break long lines
    if not text.startswith(PREFIX) or len(text) > _LONGEST:
        raise ValueError("this is no token of `ferryman migrate serve`, which begins with " + PREFIX)
    body = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the token is damaged: copy all of it, on one line") from None
    raw, check = raw[:-4], raw[-4:]
    if zlib.crc32(raw).to_bytes(4, "big") != check:
        raise ValueError("the token is damaged: copy all of it, on one line")
    try:
        data = json.loads(raw)
        token = Token(
            addresses=tuple(_text(one, _ADDRESS) for one in data["a"]),
            fingerprint=base64.b64decode(data["f"], validate=True).hex(),
            secret=base64.b64decode(data["s"], validate=True),
            name=_text(data.get("n", ""), _NAME),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("the token is of another version of ferryman") from None
    if not token.addresses or len(token.fingerprint) != 2 * _FINGERPRINT or len(token.secret) != SECRET:
        raise ValueError("the token is of another version of ferryman")
    return token


def _text(value: object, form: re.Pattern[str]) -> str:
    """A token may come from anybody: it names places on the network, and nothing else. Raises ValueError."""
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(value)
    return value
