"""The native schema of `source`: where connections to servers come from. Used by config.model; slow to load like it."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ferryman.config.fields import Section
from ferryman.config.values import shown


def _address(value: str) -> str:
    if not value:
        return value
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        message = f"{shown(value)} is no address; write 192.0.2.7 or 2001:db8::7, or client for the client's own"
        raise ValueError(message) from None


class OriginSettings(Section):
    """Where connections come from. An address stands for {address: …}, `client` for {client: address}."""

    address: Annotated[str, AfterValidator(_address)] = ""
    """of this machine; default: what fits the route. With `client`: of connections that no client is behind, such as
    health checks"""
    port: int = Field(default=0, ge=0, le=65535)
    """a fixed port of that address; 0: any"""
    client: Literal["address", "port"] | None = None
    """show servers the client's address, or its address and port; needs CAP_NET_RAW or CAP_NET_ADMIN, and that the
    servers' answers come back through this machine"""
    foreign: bool = False
    """`address` is not one of this machine's; needs the same"""
    interface: str = Field(default="", max_length=15, pattern=r"^[^\s/]*$")
    """leave by this network interface"""

    @model_validator(mode="after")
    def _consistent(self) -> OriginSettings:
        if not (self.address or self.client or self.interface):
            raise ValueError("`source` needs an `address`, `client` or `interface`")
        for key in ("port", "foreign"):
            if getattr(self, key) and not self.address:
                raise ValueError(f"`{key}` needs an `address`")
        return self


def _widened(value: object) -> object:
    if not isinstance(value, str):
        return value
    return {"client": "address"} if value == "client" else {"address": value}


_TEXT = {"type": "string", "examples": ["192.0.2.7", "2001:db8::7", "client"]}
Origin = Annotated[
    OriginSettings,
    BeforeValidator(_widened, json_schema_input_type=Annotated[str, WithJsonSchema(_TEXT)] | OriginSettings),
]


def shortened_origin(data: dict[str, Any]) -> object:
    """The short form, where there is one."""
    if data == {"client": "address"}:
        return "client"
    return data["address"] if data.keys() == {"address"} else data
