"""Passwords against the hashes of an htpasswd file.

`parse_htpasswd` is called when a configuration is read, `Passwords.verify` by the supervisor in a thread: a check takes
from microseconds to seconds by the choice of whoever made the hash. libcrypt does the slow ones with the interpreter's
lock released. No message quotes a hash or a password.

Taken: bcrypt (`$2y$`, `$2b$`, `$2a$`), SHA-512 and SHA-256 crypt (`$6$`, `$5$`), Apache's MD5 (`$apr1$`), MD5 crypt
(`$1$`), and plain SHA-1 (`{SHA}`). Refused: passwords in plain text, and traditional DES, which looks at 8 characters.
"""

from __future__ import annotations

import base64
import ctypes
import functools
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from hashlib import blake2b, md5, sha1
from typing import Final

MAX_PASSWORD: Final = 511
"""The longest password taken, in bytes of UTF-8: what libcrypt takes, and a bound on the work of one check."""

MAX_COST: Final = 15
"""The highest cost of bcrypt taken: a few seconds a check."""

MAX_ROUNDS: Final = 5_000_000
"""The most rounds of SHA crypt taken: a few seconds a check."""

_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_B64: Final = "[./0-9A-Za-z]"
_MD5: Final = re.compile(rf"(\$apr1\$|\$1\$)([!-9;-~]{{0,8}})\$({_B64}{{22}})")
_BCRYPT: Final = re.compile(rf"\$2[aby]\$([0-9]{{2}})\${_B64}{{53}}")
_SHA_CRYPT: Final = re.compile(rf"\$(?:5|6)\$(?:rounds=([0-9]{{1,9}})\$)?{_B64}{{0,16}}\$(?:{_B64}{{43}}|{_B64}{{86}})")
_SHA1: Final = re.compile(r"\{SHA\}([A-Za-z0-9+/]{27}=)")
_DES: Final = re.compile(rf"{_B64}{{13}}|_{_B64}{{19}}")
_PROBES: Final = {
    "$2": "$2b$04$......................",
    "$5": "$5$rounds=1000$probe$",
    "$6": "$6$rounds=1000$probe$",
}
"""Cheap settings, by which a libcrypt shows what it knows."""


def check_hash(text: str) -> str:
    """What is wrong with a hash, in words for whoever wrote it; "" if `verify` can use it on this system."""
    bcrypt, sha = _BCRYPT.fullmatch(text), _SHA_CRYPT.fullmatch(text)
    if bcrypt and not 4 <= int(bcrypt[1]) <= MAX_COST:
        return f"a bcrypt hash of cost {int(bcrypt[1])}: 4 to {MAX_COST} are taken"
    if sha and int(sha[1] or 0) > MAX_ROUNDS:
        return f"a SHA crypt hash of {sha[1]} rounds: up to {MAX_ROUNDS} are taken"
    if bcrypt or sha:
        return "" if _knows(text[:2]) else f"hashes that begin with {text[:2]} are not known to this system's libcrypt"
    if _MD5.fullmatch(text) or _SHA1.fullmatch(text):
        return ""
    if not text:
        return "no hash"
    if _DES.fullmatch(text):
        return "a hash of traditional DES crypt, which is not taken; make a new one with `htpasswd -B`"
    if text[0] == "{" or re.match(r"\$[0-9a-z]+\$", text):
        return "a hash of a kind that is not taken, or damaged; make a new one with `htpasswd -B`"
    return "no hash; a password in plain text is not taken, make a hash with `htpasswd -B`"


def parse_htpasswd(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The hash of each user, and what is wrong with which line (from 1).

    Empty lines and lines that begin with `#` are skipped; so is what follows a colon after the hash.
    """
    users: dict[str, str] = {}
    problems: list[tuple[int, str]] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line[0] == "#":
            continue
        user, colon, rest = line.partition(":")
        secret = rest.partition(":")[0].strip()
        if not colon or not user:
            problems.append((number, "not USER:HASH"))
        elif not user.isprintable():
            problems.append((number, "a user with a character that cannot be printed"))
        elif user in lines:
            problems.append((number, f"the user of line {lines[user]} again"))
        elif problem := check_hash(secret):
            problems.append((number, problem))
        else:
            users[user] = secret
        lines.setdefault(user, number)
    return users, problems


class Passwords:
    """Users and the hashes of their passwords. Its repr shows neither."""

    __slots__ = ("_hashes", "_key", "_users")

    def __init__(self, users: Iterable[tuple[str, str]]) -> None:
        self._users = dict(users)
        self._hashes = sorted(self._users.values())
        self._key = secrets.token_bytes(16)

    def verify(self, user: str, password: str) -> bool:
        """Is this the user's password? Takes as long as the hash wants.

        For a user that is none the password is held against the hash of another one, always the same, so that neither
        the time of an answer nor its spread over many names tells who is a user.
        """
        raw = password.encode("utf-8", "surrogatepass")
        if not self._hashes or not raw or len(raw) > MAX_PASSWORD or 0 in raw:
            return False
        secret = self._users.get(user)
        if secret is not None:
            return matches(raw, secret)
        digest = blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        matches(raw, self._hashes[int.from_bytes(digest, "big") % len(self._hashes)])
        return False

    def __repr__(self) -> str:
        return f"Passwords(of {len(self._users)} users)"


def matches(password: bytes, secret: str) -> bool:
    """Does this password have this hash, which `check_hash` has found right? The password holds no zero byte."""
    if sha := _SHA1.fullmatch(secret):
        return hmac.compare_digest(base64.b64encode(sha1(password, usedforsecurity=False).digest()).decode(), sha[1])
    if md5_crypt := _MD5.fullmatch(secret):
        return hmac.compare_digest(_md5_crypt(password, md5_crypt[1], md5_crypt[2]), md5_crypt[3])
    made = _crypt(password, secret)
    return made is not None and hmac.compare_digest(made, secret)


def _md5_crypt(password: bytes, magic: str, salt_text: str) -> str:
    """The 22 characters at the end of `$1$` (Kamp, FreeBSD 2) and `$apr1$` hashes, which differ in `magic` only."""
    salt = salt_text.encode("latin-1")
    size = len(password)
    first = _digest(password + salt + password)
    mixed = password + magic.encode() + salt + (first * (size // 16 + 1))[:size]
    left = size
    while left:
        mixed += b"\0" if left & 1 else password[:1]
        left >>= 1
    final = _digest(mixed)
    for number in range(1000):
        odd = number & 1
        final = _digest(
            (password if odd else final)
            + (salt if number % 3 else b"")
            + (password if number % 7 else b"")
            + (final if odd else password)
        )
    groups = [(final[at], final[at + 6], final[(at + 12) if at < 4 else 5]) for at in range(5)]
    text = "".join(_sextets(high << 16 | middle << 8 | low, 4) for high, middle, low in groups)
    return text + _sextets(final[11], 2)


def _digest(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).digest()


def _sextets(number: int, count: int) -> str:
    return "".join(_ALPHABET[number >> 6 * at & 63] for at in range(count))


@functools.cache
def _crypt_r() -> Callable[..., bytes | None] | None:
    """crypt_r(3) of the system's libcrypt, or of a libc that has it inside; None: there is none."""
    for library in ("libcrypt.so.2", "libcrypt.so.1", None):
        try:
            function = ctypes.CDLL(library).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        return function
    return None


def _crypt(password: bytes, setting: str) -> str | None:
    """The hash by crypt_r(3), with the interpreter's lock released; None: it does not know the setting."""
    function = _crypt_r()
    if function is None:
        return None
    room = ctypes.create_string_buffer(1 << 18)  # struct crypt_data: glibc 128 KiB, libxcrypt 32 KiB, musl 260 bytes
    made = function(password, setting.encode("latin-1", "replace"), room)
    return None if made is None or made.startswith(b"*") else made.decode("latin-1")


@functools.cache
def _knows(kind: str) -> bool:
    setting = _PROBES[kind]
    made = _crypt(b"probe", setting)
    return made is not None and made.startswith(setting[:28])
