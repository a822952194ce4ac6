"""What the command line of `ferryman migrate copy` asks for, as values; of --resume, what is another than before.

Passwords are changed and proxies are moved while terabytes are on their way, so --resume takes what is on the way anew.
What is moved, and where to, it does not take: that would be another migration.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ferryman.migrate.ends import Via
    from ferryman.migrate.session import Foreign, Order
    from ferryman.migrate.token import Token

_TO: Final = ("module", "user", "password_file", "cert", "key", "ca", "fingerprint", "no_verify", "server_name")
_VIA: Final = ("via", "via_user", "via_password_file", "via_ca")
_TOGETHER: Final = "--via-user and --via-password-file belong together"
_RENEWABLE: Final = (*_VIA, "password_file", "parallel", "bwlimit", "retries", "timeout")


def order(places: tuple[str, ...], more: dict[str, Any], given: Collection[str]) -> Order:
    """What the command line asks for. Raises click.UsageError, MigrationError."""
    from ferryman.migrate import volumes
    from ferryman.migrate.rsync import Flags
    from ferryman.migrate.session import Order

    foreign = _foreign(more, given)
    sources, target = (places, "") if foreign else (places[:-1], places[-1] if places else "")
    if not sources:
        raise click.UsageError("say what to move, and where to: SOURCE... DEST")
    try:
        token = _token(target)
        named = volumes.parse(sources)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for volume in named:
        volumes.check_source(volume)
    if foreign and named[0].single and not foreign.module:
        raise click.UsageError("--to needs --module, the name of the daemon's module")
    if foreign and foreign.module and not named[0].single:
        raise click.UsageError("--module is of one SOURCE; of several, and of NAME=PATH, the modules have their names")
    flags = Flags(
        **{key: more[key] for key in ("delete", "sparse", "hard_links", "xattrs", "acls", "dry_run", "bwlimit")},
        timeout=more["timeout"],
        excludes=("lost+found", *more["excludes"]),
    )
    return Order(
        tuple(named), flags, "" if token or foreign else str(Path(target).absolute()), token, foreign, _via(more),
        more["parallel"], more["retries"], more["checksum"],
    )  # fmt: skip


def _token(text: str) -> Token | None:
    """None: it is a folder. Raises ValueError."""
    import sys

    from ferryman.migrate import token

    if text == "-":
        return token.parse(click.prompt("token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read())
    if text.startswith("@"):
        return token.parse(_first_line(text[1:], "token"))
    return token.parse(text) if token.is_token(text) else None


def _via(more: dict[str, Any]) -> Via | None:
    from ferryman.config.proxy_url import parse_proxy_url
    from ferryman.migrate.ends import Via

    if not more["via"]:
        for option in ("via_user", "via_password_file", "via_ca"):
            if more[option]:
                raise click.UsageError(f"--{option.replace('_', '-')} is of --via, which is missing")
        return None
    try:
        parsed = parse_proxy_url(more["via"])
    except ValueError as error:
        raise click.UsageError(f"--via: {error}") from None
    if parsed.user and (more["via_user"] or more["via_password_file"]):
        raise click.UsageError("--via has credentials in its URL and beside it; leave one of them out")
    if bool(more["via_user"]) != bool(more["via_password_file"]):
        raise click.UsageError(_TOGETHER)
    password = _first_line(more["via_password_file"], "password") if more["via_password_file"] else ""
    return Via(more["via"], more["via_user"], password, _absolute(more["via_ca"]))


def _foreign(more: dict[str, Any], names: Collection[str]) -> Foreign | None:
    import os

    from ferryman.config.values import parse_connect_address
    from ferryman.migrate.session import Foreign

    if not more["address"]:
        if of_it := [name for name in _TO if name in names]:
            raise click.UsageError(f"{_option(of_it[0])} is of --to, which is missing")
        return None
    try:
        if not parse_connect_address(more["address"]).port:
            raise ValueError("a port is missing: HOST:PORT")
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None
    if sum(bool(more[key]) for key in ("ca", "fingerprint", "no_verify")) != 1:
        raise click.UsageError("say how the server is known: one of --ca, --fingerprint and --no-verify")
    digits = re.sub("[: ]", "", more["fingerprint"]).lower()
    if digits and not re.fullmatch("[0-9a-f]{64}", digits):
        raise click.UsageError("--fingerprint: a SHA-256 has 64 hexadecimal digits")
    path = more["password_file"]
    password = _first_line(path, "password") if path else os.environ.get("RSYNC_PASSWORD", "")
    return Foreign(
        more["address"], more["module"], more["user"], password, _absolute(more["cert"]), _absolute(more["key"]),
        _absolute(more["ca"]), digits, more["server_name"],
    )  # fmt: skip


def _absolute(path: str | None) -> str:
    return str(Path(path).absolute()) if path else ""


def _first_line(path: str, what: str) -> str:
    from ferryman.migrate import MigrationError

    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise MigrationError(f"cannot read the {what} in {path}: {why}") from None


def renewed(before: Order, more: dict[str, Any], given: Collection[str]) -> Order:
    """The order with what is `given` on the command line of --resume. Raises click.UsageError, MigrationError."""
    for name in given:
        if name not in _RENEWABLE:
            can = ", ".join(map(_option, _RENEWABLE))
            raise click.UsageError(
                f"--resume goes on as it was begun: {_option(name)} cannot be given with it; {can} can"
            )
    order = before
    if any(name in given for name in _VIA):
        order = replace(order, via=_via_renewed(before.via, more, given))
    if "password_file" in given:
        if order.foreign is None:
            raise click.UsageError("--password-file is of --to, which this migration was begun without")
        order = replace(order, foreign=replace(order.foreign, password=_first_line(more["password_file"], "password")))
    flags = {name: more[name] for name in ("bwlimit", "timeout") if name in given}
    ours = {"parallel": "parallel", "retries": "limit"}
    return replace(
        order, flags=replace(order.flags, **flags), **{ours[name]: more[name] for name in ours if name in given}
    )


def _via_renewed(before: Via | None, more: dict[str, Any], given: Collection[str]) -> Via | None:
    """Whoever gives a new password alone means the proxy and the user of before."""
    if before is None or "via" in given:
        return _via(more)
    from ferryman.config.proxy_url import parse_proxy_url, written

    via = before
    if "via_ca" in given:
        via = replace(via, ca=_absolute(more["via_ca"]))
    if "via_user" in given or "via_password_file" in given:
        parsed = parse_proxy_url(via.url)
        user = more["via_user"] or parsed.user or via.user
        if not (user and more["via_password_file"]):
            raise click.UsageError(_TOGETHER)
        via = replace(via, url=written(parsed), user=user, password=_first_line(more["via_password_file"], "password"))
    return via


def _option(name: str) -> str:
    return "--" + {"address": "to", "excludes": "exclude", "as_json": "json"}.get(name, name).replace("_", "-")
