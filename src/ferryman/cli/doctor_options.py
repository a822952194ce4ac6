"""The arguments of `ferryman doctor` as the values that the examination takes; every mistake names its option."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar
from urllib.parse import quote, urlsplit

import click

if TYPE_CHECKING:
    from ferryman.config.proxy_url import ProxyUrl
    from ferryman.doctor.pairing import Token
    from ferryman.doctor.path import Control, Path

T = TypeVar("T")

PASSWORD: Final = "FERRYMAN_PROXY_PASSWORD"
_LONGEST: Final = 1 << 20  # bytes of a file with a certificate
_LONGEST_IDLE: Final = 86400.0


def read(target: str | None, options: Mapping[str, Any]) -> Path:
    """What is to be examined. Raises click.UsageError."""
    from ferryman.doctor.path import Path

    token = _token(options["far_end"])
    host, port = _target(target, token)
    via = options["via"]
    return Path(
        host,
        port,
        proxy=_proxy("--via", via, options["via_password_file"]) if via else None,
        proxy_ca=_file("--via-ca", options["via_ca"]),
        name=_parsed("--sni", _host, options["sni"]) if options["sni"] else "",
        expected=_expected(options["expect_cert"]) | ({token.fingerprint} if token else set()),
        client_certificate=_client(options["cert"], options["key"]),
        token=token,
        ports=options["ports"],
        module=_parsed("--module", _word, options["module"]),
        idle=_parsed("--idle", _times, options["idle"]),
        throughput=options["throughput"],
        patience=options["timeout"],
        direct=not options["no_direct"],
        control=_control(options),
    )


def listening(text: str) -> tuple[str, int]:
    """`host:port`, or `:port` for everywhere; port 0: any. Raises click.UsageError."""
    from ferryman.wire.authority import parse_authority

    found = re.fullmatch(r"\*?:([0-9]{1,5})", text)
    if found and int(found[1]) <= 65535:
        return "", int(found[1])
    if text.endswith(":0"):
        return _parsed("--listen", _host, text[:-2].strip("[]")), 0
    return _parsed("--listen", parse_authority, text)


def public_place(text: str | None) -> tuple[str, int] | None:
    """Raises click.UsageError."""
    from ferryman.wire.authority import parse_authority

    return _parsed("--public", lambda given: parse_authority(given, 443), text) if text else None


def _token(text: str | None) -> Token | None:
    from ferryman.doctor.pairing import parse_token

    return _parsed("--far-end", parse_token, text) if text else None


def _target(target: str | None, token: Token | None) -> tuple[str, int]:
    from ferryman.wire.authority import parse_authority

    if target is not None:
        port = token.port if token and token.port else 443
        return _parsed("TARGET", lambda text: parse_authority(text, port), target)
    if token is None:
        raise click.UsageError("say which TARGET, or give the token of the far end (--far-end)")
    if not token.host:
        raise click.UsageError("the token says no host, since the far end listens everywhere: name the TARGET as well")
    return token.host, token.port


def _proxy(option: str, url: str, file: TextIO | None) -> ProxyUrl:
    from ferryman.config.proxy_url import parse_proxy_url

    password = file.readline().rstrip("\r\n") if file else os.environ.get(PASSWORD, "")
    found = re.fullmatch(r"([a-z0-9+.-]+://[^/@:]+)@(.+)", url, re.IGNORECASE)
    if password and found:
        url = f"{found[1]}:{quote(password, safe='')}@{found[2]}"
    proxy = _parsed(option, parse_proxy_url, url)
    if proxy.scheme == "socks5":
        raise click.UsageError(f"{option}: a migration goes through proxies that know CONNECT: http:// or https://")
    return proxy


def _expected(given: tuple[str, ...]) -> frozenset[bytes]:
    """Raises click.UsageError."""
    from ferryman.doctor.certificate import fingerprints, parse_fingerprint

    found: set[bytes] = set()
    for text in given:
        if one := parse_fingerprint(text):
            found.add(one)
            continue
        try:
            with open(text, "rb") as file:
                found |= _parsed(f"--expect-cert {text}", fingerprints, file.read(_LONGEST))
        except OSError as error:
            hint = "; a fingerprint is SHA-256, 64 digits" if re.fullmatch("[0-9A-Fa-f:]+", text) else ""
            raise click.UsageError(f"--expect-cert: cannot read {text}: {error.strerror}{hint}") from None
    return frozenset(found)


def _client(certificate: str | None, key: str | None) -> tuple[str, str] | None:
    from ferryman.doctor.tlsstream import client_context

    if not certificate:
        if key:
            raise click.UsageError("--key without --cert")
        return None
    pair = (certificate, key or certificate)
    try:
        client_context(certificate=pair)
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror
        raise click.UsageError(f"--cert: no certificate with its key in {' and '.join(set(pair))}: {why}") from None
    return pair


def _control(options: Mapping[str, Any]) -> Control | None:
    from ferryman.doctor.path import Control

    if not options["control"]:
        used = [name for name in ("via", "ca", "token_file", "exec") if options[f"control_{name}"]]
        if used:
            raise click.UsageError(f"--control-{used[0].replace('_', '-')} without --control")
        return None
    host, port = _parsed("--control", _api, options["control"])
    via, file = options["control_via"], options["control_token_file"]
    return Control(
        host,
        port,
        proxy=_proxy("--control-via", via, None) if via else None,
        ca=_file("--control-ca", options["control_ca"]),
        bearer=_parsed("--control-token-file", _bearer, file.read(_LONGEST).strip()) if file else "",
        pod=_parsed("--control-exec", _pod, options["control_exec"]) if options["control_exec"] else "",
    )


def _file(option: str, name: str) -> str:
    if name and not os.access(name, os.R_OK):
        raise click.UsageError(f"{option}: cannot read {name}")
    return name


def _parsed(option: str, parse: Callable[[str], T] | Callable[[bytes], T], text: Any) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _host(text: str) -> str:
    from ferryman.wire.authority import parse_host

    return parse_host(text)


def _api(text: str) -> tuple[str, int]:
    """`https://host:6443`, or `host:6443`."""
    from ferryman.wire.authority import parse_authority

    if "://" in text:
        parts = urlsplit(text)
        if parts.scheme != "https" or parts.username or parts.query:
            raise ValueError("write https://host:port, as kubeconfig has it in `server`")
        return parse_authority(parts.netloc, 443)
    return parse_authority(text, 6443)


def _pod(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9.-]{0,252}", text):
        raise ValueError("write namespace/pod")
    return text


def _bearer(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", text):
        raise ValueError("the file has no bearer token")
    return text


def _word(text: str) -> str:
    if not text.isprintable() or len(text) > 255:
        raise ValueError("a module's name is one line")
    return text


def _times(text: str) -> tuple[float, ...]:
    """Seconds, by commas."""
    try:
        found = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ValueError("write seconds, separated by commas: 20,70") from None
    if not all(math.isfinite(each) and 0 < each <= _LONGEST_IDLE for each in found):
        raise ValueError("seconds are more than 0 and at most a day (86400)")
    return found
