"""The few things of OpenSSL that a TLS server needs and Python's ssl module has no words for.

Used by contexts, tls and tlsrelay. Calls the very library that the ssl module is linked with, on the SSL_CTX of an
SSLContext and the SSL of a connection (fields of CPython's objects, which is checked once: both ways of reading the
same must agree). Where this Python is built otherwise, `available` is False and every function on contexts raises
UnavailableError: nothing is done by halves. Those on connections do what can be done without. Manual pages of OpenSSL
3: SSL_CTX_set1_groups(3), SSL_CTX_set_ciphersuites(3), SSL_CTX_set_tlsext_ticket_key_cb(3),
SSL_CTX_set_tlsext_status_cb(3), X509_VERIFY_PARAM_set1_host(3), SSL_CTX_set_mode(3), SSL_has_pending(3),
SSL_rstate_string(3), SSL_shutdown(3), SSL_set0_wbio(3), BIO_s_mem(3).
"""

from __future__ import annotations

import ctypes
import importlib
import ssl
from time import time
from typing import Any, Final
from weakref import WeakKeyDictionary

TICKET_KEYS: Final = 80
"""Bytes of the keys for session tickets: 16 for the name, 32 to authenticate, 32 to encrypt."""

_CTRL_SET_SESSION_CACHE: Final = 44
_CTRL_SET_TICKET_KEYS: Final = 59
_CTRL_SET_STATUS_CB: Final = 63
_CTRL_SET_STATUS_RESPONSE: Final = 71
_CTRL_CLEAR_MODE: Final = 78
_CTRL_SET_GROUPS_LIST: Final = 92
_MODE_PARTIAL_WRITE: Final = 1
_MODE_AUTO_RETRY: Final = 4
_CACHE_OFF: Final = 0
_STATUS_OK: Final = 0
_STATUS_NONE: Final = 3
_SENT_SHUTDOWN: Final = 1

_Fields: Final = ctypes.c_void_p * 3
_StatusCallback: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_callbacks: WeakKeyDictionary[ssl.SSLContext, Any] = WeakKeyDictionary()  # C holds them, Python must as well


class UnavailableError(Exception):
    """This Python's ssl module is not linked with an OpenSSL that can be called."""


def _load() -> Any:
    """The library, or None."""
    try:
        library = ctypes.CDLL(importlib.import_module("_ssl").__file__)
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        for name, result, arguments in (
            ("SSL_CTX_get_options", ctypes.c_uint64, (pointer,)),
            ("SSL_CTX_ctrl", ctypes.c_long, (pointer, number, ctypes.c_long, text)),
            ("SSL_CTX_callback_ctrl", ctypes.c_long, (pointer, number, _StatusCallback)),
            ("SSL_CTX_set_ciphersuites", number, (pointer, text)),
            ("SSL_CTX_get0_param", pointer, (pointer,)),
            ("X509_VERIFY_PARAM_set1_host", number, (pointer, text, ctypes.c_size_t)),
            ("X509_VERIFY_PARAM_set1_ip_asc", number, (pointer, text)),
            ("SSL_ctrl", ctypes.c_long, (pointer, number, ctypes.c_long, pointer)),
            ("SSL_get_certificate", pointer, (pointer,)),
            ("SSL_get_SSL_CTX", pointer, (pointer,)),
            ("SSL_has_pending", number, (pointer,)),
            ("SSL_rstate_string", text, (pointer,)),
            ("SSL_get_shutdown", number, (pointer,)),
            ("SSL_shutdown", number, (pointer,)),
            ("SSL_get_wbio", pointer, (pointer,)),
            ("SSL_set0_wbio", None, (pointer, pointer)),
            ("BIO_s_mem", pointer, ()),
            ("BIO_new", pointer, (pointer,)),
            ("BIO_up_ref", number, (pointer,)),
            ("BIO_read", number, (pointer, text, number)),
            ("ERR_clear_error", None, ()),
            ("EVP_sha256", pointer, ()),
            ("X509_digest", number, (pointer, pointer, text, ctypes.POINTER(ctypes.c_uint))),
            ("CRYPTO_malloc", pointer, (ctypes.c_size_t, text, number)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        same = library.SSL_CTX_get_options(_pointer(context)) == int(context.options)
    except (ImportError, OSError, AttributeError, TypeError, ValueError):
        return None
    return library if same else None


def _pointer(context: ssl.SSLContext) -> int | None:
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value


def _connection(sock: ssl.SSLSocket | ssl.SSLObject) -> tuple[int | None, int | None]:
    """Its SSL, and the address of the SSLContext it was made with: second and third field of CPython's object."""
    start = id(sock._sslobj) + object.__basicsize__  # type: ignore[union-attr]
    _, connection, context = _Fields.from_address(start)
    return connection, context


def _reaches_connections() -> bool:
    if _library is None:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection, made_with = _connection(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True))
    return made_with == id(context) and bool(_library.SSL_get_SSL_CTX(connection) == _pointer(context))


_library: Final = _load()
available: Final = _library is not None
_has_connections: Final = _reaches_connections()
_aside: Final = _library.BIO_new(_library.BIO_s_mem()) if _has_connections else None  # empty but within close_notify
_notice: Final = ctypes.create_string_buffer(1024)


def _need() -> Any:
    if _library is None:
        raise UnavailableError("this Python's ssl module does not let OpenSSL be called")
    return _library


def set_groups(context: ssl.SSLContext, groups: str) -> None:
    """Key exchange groups in order of preference, such as "X25519:P-256". Raises ValueError, UnavailableError."""
    if not _need().SSL_CTX_ctrl(_pointer(context), _CTRL_SET_GROUPS_LIST, 0, groups.encode()):
        raise ValueError(f"OpenSSL knows no such groups: {groups}")


def set_ciphersuites(context: ssl.SSLContext, suites: str) -> None:
    """Cipher suites of TLS 1.3, such as "TLS_AES_128_GCM_SHA256". Raises ValueError, UnavailableError."""
    if not _need().SSL_CTX_set_ciphersuites(_pointer(context), suites.encode()):
        raise ValueError(f"OpenSSL knows no such cipher suites: {suites}")


def remember_no_sessions(context: ssl.SSLContext) -> None:
    """Clients keep their sessions themselves, as tickets, or have none. Raises UnavailableError.

    OpenSSL would keep 20480 per context that were begun without tickets, for hours: SSL_CTX_set_session_cache_mode(3).
    """
    _need().SSL_CTX_ctrl(_pointer(context), _CTRL_SET_SESSION_CACHE, _CACHE_OFF, None)


def set_ticket_keys(context: ssl.SSLContext, keys: bytes) -> None:
    """Keys (TICKET_KEYS bytes) that session tickets are made with and read. Raises ValueError, UnavailableError."""
    if len(keys) != TICKET_KEYS or not _need().SSL_CTX_ctrl(_pointer(context), _CTRL_SET_TICKET_KEYS, len(keys), keys):
        raise ValueError(f"{len(keys)} bytes are no ticket keys")


def set_verify_name(context: ssl.SSLContext, name: str) -> None:
    """What the other side's certificate must be for, whatever it is asked for (SNI). Raises ValueError."""
    library = _need()
    parameters, text = library.SSL_CTX_get0_param(_pointer(context)), name.encode("ascii")
    if not (
        library.X509_VERIFY_PARAM_set1_ip_asc(parameters, text)
        or library.X509_VERIFY_PARAM_set1_host(parameters, text, len(text))
    ):
        raise ValueError(f"{name} is no name for a certificate")


def set_ocsp_responses(context: ssl.SSLContext, responses: dict[bytes, tuple[bytes, float]]) -> None:
    """What is stapled for clients that ask: SHA-256 of a certificate (DER) -> OCSP response (DER), and until when.

    In seconds since the epoch: clients that go without a response refuse one that is over. Raises UnavailableError.
    """
    library = _need()

    def answer(connection: int, _: int) -> int:
        digest, size = ctypes.create_string_buffer(64), ctypes.c_uint(0)
        library.X509_digest(library.SSL_get_certificate(connection), library.EVP_sha256(), digest, ctypes.byref(size))
        response, until = responses.get(digest.raw[: size.value], (b"", 0.0))
        copy = library.CRYPTO_malloc(len(response), b"ocsp", 0) if time() < until else None
        if not copy:
            return _STATUS_NONE
        ctypes.memmove(copy, response, len(response))
        library.SSL_ctrl(connection, _CTRL_SET_STATUS_RESPONSE, len(response), copy)  # which frees it in the end
        return _STATUS_OK

    callback = _StatusCallback(answer)
    library.SSL_CTX_callback_ctrl(_pointer(context), _CTRL_SET_STATUS_CB, callback)
    _callbacks[context] = callback


# connections


def pause_at_each_record(sock: ssl.SSLSocket) -> None:
    """Let a read end with SSLWantReadError after every record without application data, though more may have come.

    Otherwise it goes on for as long as such records come in: whoever sends nothing but new keys (KeyUpdate, RFC 8446
    section 4.6.3) would hold up the whole process.
    """
    if _has_connections:
        _library.SSL_ctrl(_connection(sock)[0], _CTRL_CLEAR_MODE, _MODE_AUTO_RETRY, None)


def write_all_records(sock: ssl.SSLSocket) -> None:
    """Let a write go on with the next record, until the socket is full; otherwise each call writes a single one.

    Where the socket is full nothing counts as written: the same bytes are to be given again.
    """
    if _has_connections:
        _library.SSL_ctrl(_connection(sock)[0], _CTRL_CLEAR_MODE, _MODE_PARTIAL_WRITE, None)


def is_amid_record(sock: ssl.SSLSocket) -> bool:
    """Has a part of a record been read, all that there is being read? False also where that cannot be found out."""
    if not _has_connections:
        return False
    connection = _connection(sock)[0]
    # the first five bytes are no longer pending once they are understood
    return bool(_library.SSL_has_pending(connection)) or _library.SSL_rstate_string(connection) == b"RB"


def close_notify(sock: ssl.SSLSocket) -> bytes | None:
    """The record that ends our direction; b"" if this connection is past that. None: this cannot be done here.

    It is written to memory, which takes the place of the socket for a moment, and nothing is read.
    """
    if not _has_connections:
        return None
    library, connection = _library, _connection(sock)[0]
    if library.SSL_get_shutdown(connection) & _SENT_SHUTDOWN:
        return b""
    real = library.SSL_get_wbio(connection)
    library.BIO_up_ref(real)
    library.BIO_up_ref(_aside)
    library.SSL_set0_wbio(connection, _aside)
    library.SSL_shutdown(connection)
    library.SSL_set0_wbio(connection, real)
    size = library.BIO_read(_aside, _notice, len(_notice))
    library.ERR_clear_error()  # a connection that is broken has said so before, and the next call is another's
    return _notice.raw[:size] if size > 0 else b""
