"""The sections of the native schema that concern an explicit proxy, and ways through other proxies.

Part of config.model; the same rules hold: field descriptions are the reference documentation.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from ferryman.config.fields import Condition, FileName, Seconds, Section, Size, one_or_list, text_for
from ferryman.config.proxy_url import parse_proxy_url


def _proxy_url(value: str) -> str:
    parse_proxy_url(value)
    return value


def _alternatives(value: object) -> object:
    """Every alternative as a list of hops: `direct` is an empty one."""
    return [_in_a_row(way) for way in (value if isinstance(value, list) else [value])]


def _in_a_row(way: object) -> object:
    if way == [] or (isinstance(way, list) and "direct" in way):
        raise ValueError("proxies in a row are one or more, and `direct` is none; write it as an alternative by itself")
    return [] if way == "direct" else one_or_list(way)


def _text_or_mapping(value: object) -> str:
    return "<mapping>" if isinstance(value, dict) else "<text>"


Texts = Annotated[list[str], BeforeValidator(one_or_list, json_schema_input_type=str | list[str])]


class HopSettings(Section):
    """A proxy to go through. Plain text stands for {url: …}."""

    url: Annotated[str, AfterValidator(_proxy_url)] = Field(repr=False)
    """http://, https:// or socks5://, perhaps USER:PASSWORD@ (percent-encoded), HOST:PORT"""
    user: str = ""
    """instead of in the URL, and not percent-encoded"""
    password: str = Field(default="", repr=False)
    """instead of in the URL, and not percent-encoded"""
    credentials: Literal["own", "client"] = "own"
    """client: send on the Proxy-Authorization that the client sent"""
    ca: FileName = ""
    """of https: a file with the certificates that verify the proxy; default: the system's"""
    server_name: str = ""
    """of https: the name in the proxy's certificate; default: the URL's host"""
    verify: bool = True
    """of https: verify the proxy's certificate"""
    exceptions: Texts = Field(default=[], alias="except")
    """targets it is left out for, as in NO_PROXY: names (and all below), .suffixes, addresses, networks, :ports"""


_HOP_EXAMPLES = ["http://proxy.example:3128", "https://proxy.example:443", "socks5://[2001:db8::7]:1080"]
Hop = Annotated[HopSettings, text_for("url", HopSettings, _HOP_EXAMPLES)]
_Direct = Annotated[str, WithJsonSchema({"type": "string", "enum": ["direct"]})]
_Way = _Direct | Hop | list[Hop]
Through = Annotated[
    list[list[Hop]],
    BeforeValidator(_alternatives, json_schema_input_type=_Way | list[_Way]),
    Field(min_length=1),
]
"""Alternatives in order of preference; each is a proxy, several in a row, or `direct`."""


class AccessSettings(Section):
    """An entry of `access`. The first that holds wins; if none does, the client is refused."""

    action: Literal["allow", "deny"]
    """allow: it may go there; deny: it may not, or not with these credentials if the last thing asked is the user"""
    when: Condition = None
    """default: always"""


class TlsSettings(Section):
    """An entry of `tls`. The list is read anew at each step; the first that holds and is possible by then wins."""

    action: Literal["splice", "bump", "peek", "stare", "terminate"]
    """splice: hand on untouched; bump: open; peek, stare: look and go to the next step; terminate: close"""
    when: Condition = None
    """default: always"""


class ViaSettings(Section):
    """An entry of `via`. The first that holds wins; if none does, targets are connected to directly."""

    through: Through
    """a proxy, or alternatives: a proxy, a list of proxies in a row, or direct"""
    when: Condition = None
    """default: always"""


class LearnSettings(Section):
    """A client that refuses the minted certificate of a name several times is spliced for a time."""

    failures: int = Field(default=3, ge=1)
    """refusals where nothing but our CA can be the reason, each within `time` of the one before"""
    time: Seconds = 3600.0
    """how long it is spliced then, and how long a refusal counts"""


class BumpSettings(Section):
    """How TLS is opened: with certificates minted on the fly."""

    ca: FileName = Field(min_length=1)
    """file with the certificate of the CA that signs them (PEM)"""
    key: FileName = ""
    """file with its key; default: it is in `ca` as well"""
    cache: Size = 4194304
    """memory for minted certificates; 0: none is kept"""
    server_ca: FileName = ""
    """file with the certificates that verify servers; default: the system's"""
    keep: FileName = ""
    """folder to write minted certificates to; default: none is written"""
    learn: LearnSettings | None = None
    """splice what refuses the certificate; default: never"""
    untrusted: Literal["show", "refuse"] = "show"
    """a server that cannot be verified; show: the client gets a certificate that nobody trusts and that says why, or
    sees for itself that it is for another name; refuse: the connection ends, for another name as well"""


class ConnectSettings(Section):
    """An explicit proxy: CONNECT, plain HTTP requests and SOCKS5, all on one port."""

    protocols: Annotated[
        list[Literal["connect", "http", "socks5"]],
        BeforeValidator(one_or_list),
        Field(min_length=1),
    ] = ["connect", "http", "socks5"]
    """what clients may speak"""
    users: (
        Annotated[
            Annotated[FileName, Tag("<text>")] | Annotated[dict[str, str], Tag("<mapping>")],
            Discriminator(_text_or_mapping),
        ]
        | None
    ) = Field(default=None, repr=False)
    """an htpasswd file, or name: hash; none: nobody is asked for a password"""
    realm: str = Field(default="ferryman", pattern=r'^[^"\\\x00-\x1f\x7f]*$')
    """what clients show when they ask for the password"""
    credentials_ttl: Seconds = 7200.0
    """how long credentials that were right are believed without another look"""
    users_ignore_case: bool = False
    """Alice is alice"""
    access: list[AccessSettings] | None = None
    """who may go where; none: everybody who has given the right credentials, if there are `users`"""
    tls: list[TlsSettings] = []
    """what is done with TLS; none: it is handed on untouched"""
    bump: BumpSettings | None = None
    """needed where a tls rule says bump or stare"""
    via: list[ViaSettings] = []
    """ways out through other proxies"""
    egress_guard: bool = True
    """refuse targets on this machine, in the local link, of cloud metadata, and this proxy's own listeners"""
    egress_allow: Texts = []
    """addresses, networks and names (*.example.org) that the guard lets through all the same; this proxy's own
    listeners only by address or name, not as part of a network"""
    match_sni: bool = False
    """refuse TLS clients that ask the server for another name than they asked the proxy for"""
    head_timeout: Seconds | None = 10.0
    """for a whole request to come; null or 0: no limit"""
    max_head: Size = Field(default=65536, ge=1024, le=1048576)
    """bytes of a request with its headers; its first line may have 8 KiB at most"""
    resolve_timeout: Seconds | None = 10.0
    """for a target's name to be resolved; null or 0: no limit"""
    connect_timeout: Seconds | None = 10.0
    """for a connection to a target to stand; null or 0: no limit"""
    server_timeout: Seconds | None = None
    """how long a target may be silent; none or 0: no limit"""
    tunnel_timeout: Seconds | None = None
    """how long an established tunnel may be silent, instead of client_timeout and server_timeout"""
    on_unknown_protocol: Literal["tunnel", "respond", "terminate"] = "tunnel"
    """where a tls rule wants to look and it is no TLS: hand on, whatever `tls` says, answer an HTTP error, or close"""


def shortened(ways: list[Any]) -> Any:
    """`through` in its shortest form, for config.emit."""
    short = []
    for way in ways:
        hops = [hop["url"] if hop.keys() == {"url"} else hop for hop in way]
        short.append("direct" if not hops else hops[0] if len(hops) == 1 else hops)
    return short[0] if len(short) == 1 and not isinstance(short[0], list) else short
