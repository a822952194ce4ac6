"""How the two ends of an examination know each other: a token that one prints and the other is given.

It has the certificate's fingerprint, a secret, and where the far end is reached. The secret itself is never sent: what
one end asks and what the other tells are signed with it (HMAC-SHA256), so that a proxy in between that opens TLS can
neither ask nor change what is told. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any, Final

PREFIX: Final = "ferryman-doctor-1."
GREETING: Final = b"FERRYMAN-DOCTOR/1 "
"""What every line of either end begins with."""

HELLO: Final = GREETING + b"hello\n"
"""What the far end says to who says nothing for a moment. A client that was only slow passes it over."""
RSYNC: Final = b"@RSYNCD: 31.0\n"
"""The same within TLS."""

_LONGEST: Final = 2000
_HOST: Final = re.compile(r"[A-Za-z0-9._:%-]{0,253}")
_ASK: Final = re.compile(rb"FERRYMAN-DOCTOR/1 ([a-z-]{1,20}) ([0-9a-f]{32}) ([0-9a-f]{64})\n")
TOLD: Final = ("hello", "name", "version", "peer", "binding", "binding kind")
"""What a report has in it."""
LONGEST_ASK: Final = 256
"""Bytes; no question is longer."""


@dataclass(frozen=True, slots=True)
class Token:
    """`routed`: a router that goes by server names is in front of the far end, which only TLS gets through."""

    fingerprint: bytes  # SHA-256 of the certificate in DER
    secret: bytes
    host: str
    port: int
    routed: bool = False

    def __repr__(self) -> str:
        return f"Token({self.host}:{self.port})"

    def text(self) -> str:
        """As it is given to the other end. It holds the secret."""
        data = {
            "f": self.fingerprint.hex(), "s": self.secret.hex(), "h": self.host, "p": self.port, "r": int(self.routed),
        }  # fmt: skip
        return PREFIX + base64.urlsafe_b64encode(json.dumps(data, separators=(",", ":")).encode()).decode().rstrip("=")


def parse_token(text: str) -> Token:
    """Raises ValueError, whose text says nothing of what is in it."""
    text = text.strip()
    if not text.startswith(PREFIX) or len(text) > _LONGEST:
        raise ValueError(f"a token begins with {PREFIX}; copy the line that `ferryman doctor serve` printed")
    try:
        body = text.removeprefix(PREFIX)
        data = json.loads(base64.b64decode(body + "=" * (-len(body) % 4), b"-_", validate=True))
        token = Token(bytes.fromhex(data["f"]), bytes.fromhex(data["s"]), data["h"], data["p"], bool(data["r"]))
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("the token is damaged; copy all of the line that `ferryman doctor serve` printed") from None
    whole = isinstance(token.host, str) and isinstance(token.port, int) and 0 <= token.port <= 65535
    if not whole or not _HOST.fullmatch(token.host) or len(token.fingerprint) != 32 or len(token.secret) != 16:
        raise ValueError("the token is damaged; copy all of the line that `ferryman doctor serve` printed")
    return token


def sign(secret: bytes, purpose: str, *parts: bytes) -> str:
    """Hex. `purpose` sets questions and answers apart."""
    message = b"\0".join([purpose.encode(), *(len(part).to_bytes(4, "big") + part for part in parts)])
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def ask(secret: bytes, what: str, nonce: str) -> bytes:
    """The line that asks the far end for something; `nonce` is 32 hex digits."""
    return GREETING + f"{what} {nonce} {sign(secret, 'ask', what.encode(), nonce.encode())}\n".encode()


def asked(secret: bytes, data: bytes) -> tuple[str, str, int] | None:
    """What is asked at the start of a stream, its nonce and its length in bytes; None: nothing that was signed."""
    found = _ASK.match(data)
    if found is None:
        return None
    what, nonce = found[1].decode(), found[2].decode()
    right = hmac.compare_digest(sign(secret, "ask", found[1], found[2]).encode(), found[3])
    return (what, nonce, found.end()) if right else None


def tell(secret: bytes, nonce: str, told: dict[str, Any]) -> bytes:
    """The far end's answer, signed."""
    body = json.dumps(told, sort_keys=True)
    return json.dumps({"told": body, "signed": sign(secret, "tell", nonce.encode(), body.encode())}).encode()


def told(secret: bytes, nonce: str, data: bytes) -> dict[str, str] | None:
    """What the far end told (TOLD, all of it text); None: it was not the far end, or somebody changed it."""
    try:
        outer = json.loads(data)
        body, signed = outer["told"], outer["signed"]
        right = hmac.compare_digest(sign(secret, "tell", nonce.encode(), body.encode()), signed)
        answer = json.loads(body) if right else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(answer, dict) or not all(isinstance(answer.get(name), str) for name in TOLD):
        return None
    return {name: answer[name] for name in TOLD}
