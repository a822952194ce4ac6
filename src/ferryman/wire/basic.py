"""Basic credentials (RFC 7617): read from a client, written to an upstream proxy, and asked for.

Called by the data plane with values of Proxy-Authorization. Whether a password is right is not decided here (see
rules.passwords), and nothing here may end up in a log.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

_VALUE: Final = re.compile("[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def basic_credentials(value: str) -> tuple[str, str] | None:
    """User and password of an Authorization or Proxy-Authorization value; None: they are not, or not acceptable.

    The scheme is compared without case (stunnel sends `basic`). The password begins after the first colon and may hold
    more. Base64 must be exact, but the `=` at its end may be missing. What is not UTF-8 is taken for Latin-1. Refused:
    control bytes (section 2), an empty user, and an empty password, which is what a client sends that was told none.
    """
    match = _VALUE.fullmatch(value)
    if match is None:
        return None
    text = match[1]
    if not text.endswith("="):
        text += "=" * (-len(text) % 4)
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    user, _, password = text.partition(":")
    if not user or not password or _CONTROL.search(text):
        return None
    return user, password


def fault(value: str) -> str:
    """Why `basic_credentials` gives None, without a word of the value."""
    if value[:6].lower() != "basic ":
        return "only Basic credentials are taken"
    return "credentials without a user or a password, or that are not base64"


def basic_authorization(user: str, password: str) -> str:
    """The value that carries these credentials, in UTF-8.

    Raises ValueError for a colon in the user and for control characters: they cannot be carried.
    """
    if ":" in user:
        raise ValueError("a user with a colon cannot be sent as Basic credentials")
    if _CONTROL.search(user) or _CONTROL.search(password):
        raise ValueError("control characters cannot be sent as Basic credentials")
    return f"Basic {binascii.b2a_base64(f'{user}:{password}'.encode(), newline=False).decode()}"


def challenge(realm: str) -> tuple[str, str]:
    """The field that a 407 must carry (RFC 9110 section 11.7.1)."""
    quoted = re.sub(r'(["\\])', r"\\\1", realm)
    return "Proxy-Authenticate", f'Basic realm="{quoted}", charset="UTF-8"'
