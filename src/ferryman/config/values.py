"""Values people write: durations and addresses, as text to typed value or ValueError with a helpful message.

Used by the model and by the dialects. Knows no files and no positions.

Addresses follow HAProxy's grammar: the text after the last colon is the port unless a "]" follows that colon, so
`2620:52:0:1305::100:6443` is port 6443 of 2620:52:0:1305::100. An optional prefix names the family.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from decimal import Decimal
from typing import Final

from ferryman.plan import Address

_UNITS: Final = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")
_LONGEST: Final = 100 * 365 * 86400.0
_DURATION_FORMS: Final = 'write it as "500ms", "10s", "1m", "2h" or "1d"'


def parse_seconds(value: object) -> object:
    """Read "500ms", "10s", "1m30s" or a number of seconds into seconds. Raises ValueError."""
    if isinstance(value, str):
        text = value.strip()
        if not text or len(text) > 60:
            raise ValueError(f"{shown(value)} is not a duration; {_DURATION_FORMS}")
        if _DURATION.fullmatch(text):
            seconds = float(sum(Decimal(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text)))
        elif re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            seconds = float(text)
        else:
            raise ValueError(f"{shown(value)} is not a duration; {_DURATION_FORMS}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"a duration cannot be negative, as {value} is; {_DURATION_FORMS}")
        seconds = float(value) if value <= _LONGEST else float("inf")
    else:
        raise ValueError(f"{shown(value)} is not a duration; {_DURATION_FORMS}")
    if not seconds <= _LONGEST:
        raise ValueError(f"{shown(value)} is longer than a hundred years; leave it out where you mean no limit")
    return seconds


def format_seconds(value: float) -> str:
    """Write seconds as the shortest exact text parse_seconds reads back: 90.0 as "90s", 0.5 as "500ms"."""
    exact = Decimal(repr(value))
    if not exact:
        return "0s"
    for unit, size in _UNITS.items():
        count = exact / size
        if count == count.to_integral_value() and count * size == exact:
            return f"{int(count)}{unit}"
    return f"{exact:f}s"


_SIZE = re.compile(r"([0-9]{1,15}) ?(?:([kKMG])i?)?B?")
_SIZES: Final = {None: 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(value: object) -> object:
    """Read "64KiB", "4MB" (both powers of 1024) or a number of bytes into bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{shown(value)} is not a size; write it as "64KiB", "4MB" or a number of bytes')
    return int(found[1]) * _SIZES[found[2]]


def format_size(value: int) -> int | str:
    """Write bytes as the shortest exact text parse_size reads back."""
    for unit in ("G", "M", "K"):
        if value and value % _SIZES[unit] == 0:
            return f"{value // _SIZES[unit]}{unit}iB"
    return value


_PREFIX = re.compile(r"([a-z][a-z0-9]*)@(.*)", re.DOTALL)
_FAMILIES: Final = {"ipv4": "inet", "tcp4": "inet", "ipv6": "inet6", "tcp6": "inet6", "ip": "", "tcp": ""}
_LATER: Final = {
    "fd": "a descriptor handed over at the start",
    "quic4": "QUIC",
    "quic6": "QUIC",
    "udp": "UDP",
    "udp4": "UDP",
    "udp6": "UDP",
    "mptcp": "multipath TCP",
    "mptcp4": "multipath TCP",
    "mptcp6": "multipath TCP",
    "sockpair": "a pair of sockets",
    "abnsz": "an abstract socket padded with zeros",
    "rhttp": "reverse HTTP",
}
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NAMESPACE: Final = re.compile(r"(?!\.\.?$)[^\s/\x00-\x1f\x7f]{1,255}")
_UNIX_PATH_BYTES: Final = 107  # sizeof(sockaddr_un.sun_path) less the final NUL, unix(7)


def parse_listen_address(value: object) -> Address:
    """Where to listen: `*:443`, `127.0.0.1:8000-8010`, `[::1]:443`, `unix@/run/x.sock`, `abns@name`.

    Also an Address as it is, or {address: …, v6only: true, namespace: NAME}. Raises ValueError.
    """
    if isinstance(value, Address):
        return value
    if isinstance(value, dict):
        return _parse_listen_mapping(value)
    text, family, rest = _split_prefix(value, "*:443 or 127.0.0.1:443")
    if family in ("unix", "abstract"):
        return _local(text, family, rest)
    host, port = _split_port(rest)
    if not port:
        raise ValueError(f"{shown(text)} says no port; {_with_port(host, text)}")
    _refuse_bare_ipv6(text, rest, host)
    if host in ("", "*"):
        address = Address("inet6", "::") if family == "inet6" else Address("inet", "0.0.0.0")
    else:
        address = _numeric(text, host)
        if address.family == "name":
            raise ValueError(
                f"{shown(text)} names a host; listening needs an address: write 127.0.0.1:{port} or *:{port}"
            )
        _demand_family(text, family, address)
    first, dash, last = port.partition("-")
    low = _port(text, first)
    high = _port(text, last) if dash else low
    if high < low:
        raise ValueError(f"the ports of {shown(text)} run backwards; write {high}-{low}")
    return Address(address.family, address.host, low, high if high > low else 0)


def _parse_listen_mapping(value: dict[object, object]) -> Address:
    if unknown := sorted(str(key) for key in value if key not in ("address", "v6only", "namespace")):
        raise ValueError(f"unknown key {shown(unknown[0])} beside `address`; there are `v6only` and `namespace`")
    v6only = value.get("v6only", False)
    if not isinstance(v6only, bool):
        raise ValueError(f"v6only is true or false, not {shown(v6only)}")
    if isinstance(value.get("address"), dict):
        raise ValueError("`address` is text such as [::]:443")
    address = parse_listen_address(value.get("address"))
    if v6only and address.family != "inet6":
        raise ValueError(f"v6only makes sense for an IPv6 address only, not for {address}; leave it out")
    namespace = value.get("namespace", "")
    if not isinstance(namespace, str) or (namespace and not _NAMESPACE.fullmatch(namespace)):
        raise ValueError(f"{shown(namespace)} is no name of a network namespace; `ip netns list` shows them")
    if namespace and address.family == "unix":
        raise ValueError(f"a Unix socket with a path is in no network namespace: {address}; leave `namespace` out")
    return replace(address, v6only=v6only, namespace=namespace)


def parse_connect_address(value: object) -> Address:
    """Where to connect: as for listening, and host names. No port, or +N or -N: the client's port (plus N).

    Raises ValueError.
    """
    if isinstance(value, Address):
        return value
    text, family, rest = _split_prefix(value, "192.0.2.7:443, [2001:db8::7]:443 or host.example:443")
    if family in ("unix", "abstract"):
        return _local(text, family, rest)
    host, port = _split_port(rest)
    _refuse_bare_ipv6(text, rest, host)
    if host in ("", "*"):
        raise ValueError(f"{shown(text)} names no host to connect to; write 192.0.2.7:{port or '443'}")
    address = _numeric(text, host)
    _demand_family(text, family, address)
    if port in ("", "0"):
        return Address(address.family, address.host, from_client=True)
    if port[0] in "+-":
        if not re.fullmatch(r"[+-][0-9]{1,5}", port) or abs(int(port)) > 65535:
            raise ValueError(f"{shown(port)} in {shown(text)} is no offset from the client's port; write +1000 or -80")
        return Address(address.family, address.host, int(port), from_client=True)
    if re.fullmatch(r"[0-9]+-[0-9]+", port):
        raise ValueError(f"{shown(text)} has a range of ports; a server has one: write several servers")
    return Address(address.family, address.host, _port(text, port))


def parse_log_target(text: str) -> tuple[str, str, int]:
    """Read where log lines go into (kind, address, port): the first fields of plan.LogTarget. Raises ValueError."""
    if text in ("stdout", "stderr"):
        return text, "", 0
    if found := re.fullmatch(r"fd@([0-9]{1,6})", text):
        return "fd", found[1], 0
    kind, colon, rest = text.partition(":")
    if colon and kind in ("file", "unix"):
        if not rest.startswith("/"):
            raise ValueError(f"{shown(text)} needs a whole path; write {kind}:/var/log/ferryman.log")
        return kind, rest, 0
    if colon and kind == "udp":
        if rest in ("", "*") or rest.startswith((":", "*:")):
            raise ValueError(f"{shown(text)} names no host; write udp:127.0.0.1:514")
        address = parse_connect_address(rest)
        if address.family not in ("inet", "inet6", "name") or (address.from_client and address.port):
            raise ValueError(f"{shown(text)} is no UDP address; write udp:127.0.0.1:514")
        return "udp", address.host, address.port or 514
    raise ValueError(
        f"{shown(text)} is no log target; write stdout, stderr, fd@3, file:/var/log/ferryman.log, "
        "udp:127.0.0.1:514 or unix:/dev/log"
    )


def split_addresses(text: str) -> list[str]:
    """Split a comma-separated list of addresses into its parts, none of them empty. Raises ValueError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ValueError(f"there is nothing before or after a comma in {shown(text)}; write *:80,*:443")
    return parts


def shown(value: object) -> str:
    """Show any value in a message: quoted, on one line, cut when long."""
    text = repr(value) if isinstance(value, str) else str(value)
    if isinstance(value, dict | list):
        text = "a mapping" if isinstance(value, dict) else "a list"
    return text if len(text) <= 80 else text[:77] + "…" + text[0] * isinstance(value, str)


def _split_prefix(value: object, example: str) -> tuple[str, str, str]:
    """Split a value into (its text, the family its prefix demands or "", what follows the prefix)."""
    if not isinstance(value, str):
        raise ValueError(f"an address is text such as {example}, not {shown(value)}")
    text = value.strip()
    if not text:
        raise ValueError(f"an address is missing; write {example}")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{shown(text)} has a blank in it; an address is one word such as {example}")
    if text.startswith("/"):
        return text, "unix", text
    found = _PREFIX.fullmatch(text)
    if found is None:
        return text, "", text
    prefix, rest = found.groups()
    if prefix in ("unix", "abns"):
        return text, "unix" if prefix == "unix" else "abstract", rest
    if prefix in _LATER:
        raise ValueError(f"{prefix}@ ({_LATER[prefix]}) is not supported yet; write {example}")
    if prefix not in _FAMILIES:
        raise ValueError(f"unknown prefix {prefix}@ in {shown(text)}; there are ipv4@, ipv6@, unix@ and abns@")
    return text, _FAMILIES[prefix], rest


def _split_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    return (host, port) if colon and "]" not in port else (text, "")


def _numeric(text: str, host: str) -> Address:
    """Read a host as an IPv4 or IPv6 address, or as a name."""
    if host.startswith("[") or ":" in host:
        inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            return Address("inet6", str(ipaddress.IPv6Address(inner)))
        except ValueError:
            raise ValueError(
                f"{shown(host)} in {shown(text)} is not an IPv6 address; write [2001:db8::7]:443"
            ) from None
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return Address("inet", str(ipaddress.IPv4Address(host)))
        except ValueError:
            raise ValueError(f"{shown(host)} in {shown(text)} is not an IPv4 address; write 192.0.2.7:443") from None
    if not host.isascii():
        raise ValueError(f"{shown(host)} is not ASCII; write an international name in its xn-- form")
    name = host.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{shown(host)} in {shown(text)} is neither an address nor a host name")
    return Address("name", host)


def _refuse_bare_ipv6(text: str, rest: str, host: str) -> None:
    """Explain `::1` and `fe80::1`, whose end reads as a port and whose beginning is then no address."""
    try:
        whole = str(ipaddress.IPv6Address(rest))
    except ValueError:
        return
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(
            f"{shown(text)} is an IPv6 address without brackets, whose end would be taken for the port; "
            f"write [{whole}]:443"
        ) from None


def _demand_family(text: str, family: str, address: Address) -> None:
    if family and address.family == "name":
        raise ValueError(f"a family cannot be demanded of a name yet, as in {shown(text)}; leave the prefix out")
    if family and family != address.family:
        raise ValueError(f"the prefix of {shown(text)} does not fit its address; leave it out")


def _port(text: str, port: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", port):
        raise ValueError(f"{shown(port)} in {shown(text)} is not a port; write a number from 1 to 65535")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"port {port} in {shown(text)} does not exist; ports are 1 to 65535")
    return int(port)


def _with_port(host: str, text: str) -> str:
    if host.isdigit():
        return f'write "*:{host}" if that is the port'
    return f"write {text.rstrip(':')}:443"


def _local(text: str, family: str, name: str) -> Address:
    if not name:
        raise ValueError(f"{shown(text)} says no {'path' if family == 'unix' else 'name'}; write unix@/run/x.sock")
    if len(name.encode(errors="replace")) > _UNIX_PATH_BYTES:
        raise ValueError(f"{shown(text)} is longer than the {_UNIX_PATH_BYTES} bytes a Unix socket's path may have")
    return Address(family, name)
