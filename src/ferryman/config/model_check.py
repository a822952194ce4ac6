"""The sections of the native schema that concern health checks: `check` of backends and servers.

Part of config.model; the same rules hold: field descriptions are the reference documentation.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from ferryman.config.fields import Connect, Interval, Section, text_for
from ferryman.config.model_tls import TlsServerSettings
from ferryman.config.values import shown

_RANGE = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def status_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """ "200-399, 404" as pairs of numbers, both ends included. Raises ValueError."""
    ranges = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise ValueError(f"{shown(text)} is no list of statuses; write such as 200-399 or 200,204")
        ranges.append((int(found[1]), int(found[2] or found[1])))
    return tuple(ranges)


def _statuses(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked_statuses(value: str) -> str:
    status_ranges(value)
    return value


def _word(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{shown(value)} cannot stand in the first line of a request")
    return value


def _method(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{shown(value)} is no HTTP method")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _TOKEN.fullmatch(name) or not text.isprintable():
            raise ValueError(f"{shown(f'{name}: {text}')} is no header")
    return value


def _hex(value: str) -> str:
    try:
        plain = bytes.fromhex(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is not hexadecimal: it has two digits for each byte") from None
    return plain.hex()


def _pattern(value: str) -> str:
    pattern_of(value)
    return value


def pattern_of(text: str) -> tuple[bytes, bool]:
    """What `expect` is to find, and whether it is a regular expression, which stands between slashes.

    Raises ValueError.
    """
    if len(text) < 3 or text[0] != "/" or text[-1] != "/":
        return text.encode(), False
    try:
        raw = text[1:-1].encode("latin-1")
        re.compile(raw)
    except UnicodeEncodeError:
        raise ValueError("a regular expression for bytes has characters up to \\xff only") from None
    except re.error as error:
        raise ValueError(f"{shown(text)} is no regular expression: {error}") from None
    return raw, True


Hexadecimal = Annotated[str, AfterValidator(_hex), Field(min_length=2)]
Expected = Annotated[str, AfterValidator(_pattern), Field(min_length=1)]


class StepSettings(Section):
    """One thing that is said or expected; exactly one of these."""

    send: str | None = None
    """this text"""
    send_hex: Hexadecimal | None = None
    """these bytes, in hexadecimal"""
    expect: Expected | None = None
    """the answer contains this text, or matches this /regular expression/"""
    expect_hex: Hexadecimal | None = None
    """the answer contains these bytes, in hexadecimal"""


class HttpCheckSettings(Section):
    """A request, and which answers are good. Plain text stands for {uri: …}, true for {}."""

    method: Annotated[str, AfterValidator(_method)] = "GET"
    """such as GET, HEAD or OPTIONS"""
    uri: Annotated[str, AfterValidator(_word)] = "/"
    """what is asked for"""
    version: Annotated[Literal["1.0", "1.1"], BeforeValidator(lambda value: str(value))] = "1.1"
    """of HTTP"""
    host: str | None = None
    """the Host header, "" for none; default: the name that TLS asks for, else the host of the server's address"""
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = {}
    """further ones"""
    status: Annotated[
        str,
        BeforeValidator(_statuses),
        AfterValidator(_checked_statuses),
        WithJsonSchema({"anyOf": [{"type": "string", "examples": ["200-399", "200,204"]}, {"type": "integer"}]}),
    ] = "200-399"
    """good statuses: numbers and ranges, with commas between"""


def _boolean_or_mapping(value: object) -> str:
    return "<mapping>" if isinstance(value, dict | BaseModel) else "<boolean>"


def _kind_of_tls(value: object) -> str:
    return "<word>" if isinstance(value, str) else _boolean_or_mapping(value)


CheckTls = Annotated[
    Annotated[bool, Tag("<boolean>")]
    | Annotated[Literal["hello"], Tag("<word>")]
    | Annotated[TlsServerSettings, Tag("<mapping>")],
    Discriminator(_kind_of_tls),
]
HttpCheck = Annotated[
    HttpCheckSettings,
    BeforeValidator(
        lambda value: {} if value is True else value, json_schema_input_type=Literal[True] | HttpCheckSettings
    ),
    text_for("uri", HttpCheckSettings, ["/health"]),
]


class CheckSettings(Section):
    """A health check, every `interval`, along the way that traffic takes: through `via`, with the PROXY header, with
    TLS. With `http`, `send`, `expect` or `steps` the server also has to answer, else the connection is enough."""

    interval: Interval = 2.0
    """from one check to the next"""
    fast_interval: Interval | None = None
    """the same while the server is going up or down; default: interval"""
    down_interval: Interval | None = None
    """the same while the server is down; default: interval"""
    rise: int = Field(default=2, ge=1)
    """good checks in a row that bring a server up"""
    fall: int = Field(default=3, ge=1)
    """bad checks in a row that take a server down"""
    timeout: Interval | None = None
    """for the whole check; default: the interval, or the backend's connect timeout if shorter"""
    answer_timeout: Interval | None = None
    """for what comes after the connection: TLS and the answer; then `timeout` is for the connection alone"""
    address: Connect | None = None
    """where to check; default: the server's own address; without a port: the server's port"""
    via: bool | None = None
    """go through the backend's `via`; default: where traffic does and `address` is not said"""
    send_proxy: bool | None = None
    """send a PROXY header that says the connection is our own; default: where connections get one and `address` is
    not said"""
    tls: CheckTls | None = None
    """true: as with traffic; false: none; a mapping: settings of its own; hello: any answer to a TLS hello is good, for
    servers whose TLS passes untouched; default: true where traffic has it and `address` is not said"""
    server_name: str = ""
    """what the server is asked for by TLS; default: as traffic does where that is a fixed name, else the host of the
    server's address if it is a name"""
    http: HttpCheck | None = None
    """send a request and expect an answer; true or a URI or a mapping"""
    send: str = ""
    """send this text"""
    expect: Expected | None = None
    """the answer contains this text, or matches this /regular expression/"""
    steps: list[StepSettings] = []
    """instead of `send` and `expect`: what is said and expected, one after the other"""


Check = Annotated[
    Annotated[bool, Tag("<boolean>")] | Annotated[CheckSettings, Tag("<mapping>")], Discriminator(_boolean_or_mapping)
]


def shortened_check(settings: Any) -> Any:
    """`check` in its shortest form, for config.emit."""
    if isinstance(settings, dict):
        http = settings.get("http")
        if http is not None:
            settings["http"] = http["uri"] if http.keys() == {"uri"} else http or True
    return settings
