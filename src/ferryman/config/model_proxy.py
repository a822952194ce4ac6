"""The sections of the native schema that concern the PROXY protocol: `proxy_protocol` of listeners, `send_proxy`.

Part of config.model; the same rules hold: field descriptions are the reference documentation.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag

from ferryman.config.fields import Interval, Section, one_or_list

Tlv = Literal["authority", "alpn", "unique-id", "ssl", "ssl-version", "ssl-cipher", "cert-cn", "netns", "crc32c"]
Texts = Annotated[list[str], BeforeValidator(one_or_list, json_schema_input_type=str | list[str])]


def _boolean_or_mapping(value: object) -> str:
    return "<mapping>" if isinstance(value, dict | BaseModel) else "<boolean>"


class ReceiveProxySettings(Section):
    """Who sends a PROXY header (version 1 or 2) before anything else."""

    senders: Texts | None = Field(default=None, alias="from", min_length=1)
    """networks whose clients have to; all others must not, and their bytes are left alone; default: everybody has to"""
    timeout: Interval = 3.0
    """for the whole header to come"""


ReceiveProxy = Annotated[
    Annotated[bool, Tag("<boolean>")] | Annotated[ReceiveProxySettings, Tag("<mapping>")],
    Discriminator(_boolean_or_mapping),
]


class SendProxySettings(Section):
    """The PROXY header that a server gets first. Plain text stands for {version: …}."""

    version: Literal["v1", "v2"]
    """v1: a line of text; v2: binary"""
    tlvs: Annotated[list[Tlv], BeforeValidator(one_or_list, json_schema_input_type=Tlv | list[Tlv])] = []
    """of v2, what else is told: authority (the name a TLS client asks for), alpn, unique-id, ssl (whether and how the
    client spoke TLS; with ssl-cipher, cert-cn), netns (as received), crc32c (a checksum)"""


def _widened(value: object) -> object:
    return {"version": value} if isinstance(value, str) else value


SendProxy = Annotated[
    Annotated[Literal[False], Tag("<boolean>")] | Annotated[SendProxySettings, Tag("<mapping>")],
    Discriminator(_boolean_or_mapping),
    BeforeValidator(_widened, json_schema_input_type=Literal[False, "v1", "v2"] | SendProxySettings),
]


def shortened_proxy(value: object) -> object:
    """As `emit` writes a `send_proxy`."""
    return value["version"] if isinstance(value, dict) and value.keys() == {"version"} else value
