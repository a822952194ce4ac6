"""Write docs/reference/configuration.md from the schema and the tables of facts, so that they cannot differ.

.venv/bin/python scripts/make_reference.py           # write it
.venv/bin/python scripts/make_reference.py --check   # exit code 1 if it would change; a test calls this
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ferryman.config.schema import schema
from ferryman.config.values import format_seconds, format_size
from ferryman.rules.converters import CONVERTERS
from ferryman.rules.fetches import FETCHES
from ferryman.rules.match import METHODS

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"

SECTIONS = {
    "ListenerSettings": "listeners.NAME",
    "BackendSettings": "backends.NAME",
    "ServerSettings": "servers",
    "CheckSettings": "check",
    "HttpCheckSettings": "check.http",
    "StepSettings": "check.steps",
    "ReceiveProxySettings": "proxy_protocol",
    "SendProxySettings": "send_proxy",
    "OriginSettings": "source",
    "DestinationSettings": "destination",
    "PrewarmSettings": "prewarm",
    "RuleSettings": "connection and inspect",
    "RouteSettings": "routes and server_rules",
    "TlsCaseSettings": "listeners.NAME.tls",
    "CertificateSettings": "certificates",
    "ClientCertificateSettings": "clients",
    "TlsServerSettings": "tls of backends and servers",
    "ConnectSettings": "connect",
    "AccessSettings": "access",
    "TlsSettings": "connect.tls",
    "BumpSettings": "bump",
    "LearnSettings": "learn",
    "ViaSettings": "connect.via",
    "HopSettings": "proxies",
    "PagesSettings": "pages",
    "GlobalSettings": "global",
    "LogSettings": "log",
    "RuntimeSocketSettings": "runtime_sockets",
}

HEAD = """\
# Configuration

<!-- made by scripts/make_reference.py from the schema; do not edit -->

The native configuration is YAML with three sections: `listeners`, `backends` and `global`. The shortest one:

```yaml
listeners:
  web:
    bind: 127.0.0.1:8443
    servers: ["[::1]:9443", "[::1]:9444"]
```

`ferryman check FILE…` names every mistake with its place. `ferryman schema` prints the JSON Schema; an editor with
yaml-language-server completes and checks while you type if the file begins with
`# yaml-language-server: $schema=ferryman.schema.json`.

One with names:

```yaml
global:
  log: [stdout, {target: "udp:127.0.0.1:514", format: rfc5424}]
listeners:
  main:
    bind: "*:6443"
    connection:
      - {action: reject, when: {client_address: 192.0.2.0/24}}
    routes:
      - to: api
        when: {sni: ["api.example.org", "*.api.example.org"]}
    to: other
backends:
  api:
    balance: source
    check: true
    servers:
      - {name: master0, address: "[2001:db8::100]:6443"}
      - {name: master1, address: "[2001:db8::101]:6443"}
  other:
    servers: "[2001:db8::200]:443"
```

An explicit proxy, whose clients say themselves where they want to go (`curl --proxy http://127.0.0.1:3128 …`):

```yaml
listeners:
  out:
    bind: 127.0.0.1:3128
    connect:
      access:
        - {action: allow, when: {target_port: 443, target_host: ["*.example.org", "*.example.net"]}}
        - {action: allow, when: {client_address: 127.0.0.1, time: "Mon-Fri 08:00-18:00"}}
      via:
        - when: {target_host: "*.example.net"}
          through: ["https://proxy.example:443", direct]
```

## Values

- **Text** that begins with `*`, `[`, `{`, `%`, `@` or `&` needs quotes in YAML: `"*:443"`, `"[::1]:443"`.
- **true and false** are the only truths; `yes`, `no`, `on` and `off` are text. Numbers with leading zeros are text.
- **Durations** are `500ms`, `10s`, `1m30s`, `2h`, `1d`, or a number of seconds.
- **Sizes** are `64KiB`, `4MB` (both powers of 1024), or a number of bytes.
- **Files** that are read (`users`, `ca`, `key`, `certificate`, …), and `keep`, are named in full or relative to the
  folder of the configuration file that names them; on standard input and with `--set` relative to the current folder.
  What only exists while ferryman runs (sockets, `pidfile`, targets of logs) is relative to the current folder.
- **Addresses**: the text after the last colon is the port, unless a `]` follows that colon. `*:443` and `:443` listen
  on every IPv4 address, `[::]:443` on every IPv6 address as well (`{address: "[::]:443", v6only: true}`: on these
  only). `127.0.0.1:8000-8010` listens on several ports. `unix@/run/x.sock` (or `/run/x.sock`) and `abns@name` are Unix
  sockets. `ipv4@` and `ipv6@` demand a family. Only servers may be named, as in `host.example:443`.
- **Variables**: `${NAME}` in a value is the environment variable, `${NAME:-default}` has a default, `$${` is a plain
  `${`.
- **Anchors and merge keys** (`&name`, `*name`, `<<: *name`) work. Top-level keys that begin with `x-` are room for
  them.
- **Several files** are united; lists in `global` are added up, everything else may be defined once.
- **Short forms**: one value may stand for a list of one; an address for a server or a runtime socket; a target for a
  log.
"""

WHEN = """\
A condition is a test such as `{sni: '*.example.org'}`. Several keys in one mapping must all hold; of a list of
conditions one must hold, and so must one of a list of values. A plain text names an entry of the listener's `tests`.
`{all: […]}`, `{any: […]}` and `{not: …}` nest. A key is a fact, perhaps with converters, as in `sni|lower`; a value is
compared in the way natural to the fact, or as a method says: `{sni: {suffix: .example.org}}`,
`{alpn: {is: h2, ignore_case: true}}`."""


def page() -> str:
    """The whole page, as Markdown."""
    made = schema()
    parts = [HEAD.rstrip("\n")]
    for name, title in SECTIONS.items():
        section = made["$defs"][name]
        parts += [f"## {title}", section["description"], _table(section)]
    parts += [
        "## when",
        WHEN,
        "Methods: " + ", ".join(f"`{name}`" for name in METHODS) + ".",
        "### Facts",
        "| fact | type | known | |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{name}{_arguments(it.parameters, it.optional)}` | {it.type} | {_KNOWN[it.needs]} | {_cell(it.text)} |"
            for name, it in FETCHES.items()
        ),
        "### Converters",
        "| converter | gives | |\n|---|---|---|\n"
        + "\n".join(
            f"| `{name}{_arguments(it.parameters, it.optional)}` | {it.type or 'the same type'} | {_cell(it.text)} |"
            for name, it in CONVERTERS.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


_KNOWN = {
    "address": "at accept",
    "bytes": "once the client has sent enough",
    "handshake": "once the client's TLS is terminated",
    "state": "at any time",
    "target": "with `connect` only",
}


def _table(section: dict[str, Any]) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for key, value in section["properties"].items():
        required = key in section.get("required", ())
        default = "required" if required else _default(value)
        rows.append(f"| `{key}` | {_cell(_type(value))} | {_cell(default)} | {_cell(value['description'])} |")
    return "\n".join(rows)


def _type(value: dict[str, Any]) -> str:
    """What may stand there, in a few words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{SECTIONS[name]}](#{_anchor(SECTIONS[name])})"
    if "HopSettings" in str(value):
        return f"[proxies](#{_anchor(SECTIONS['HopSettings'])})"
    if alternatives := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in alternatives if each.get("type") != "null"))
    if "enum" in value:
        return (
            ", ".join(map(str, value["enum"]))
            if len(value["enum"]) <= 8
            else f"{value['enum'][0]} … {value['enum'][-1]}"
        )
    kind = value.get("type")
    if kind == "array":
        inner = _type(value["items"])
        return f"list of ({inner})" if " or " in inner else f"list of {inner}"
    if kind == ["string", "number"]:
        return "duration"
    if kind == ["string", "integer"]:
        return "size"
    if isinstance(kind, list):
        return "[condition](#when)"
    if kind == "object":
        of = value.get("additionalProperties")
        if isinstance(of, dict):
            return f"mapping of name to {_type(of)}"
        return "{" + ", ".join(value.get("properties", {})) + "}"
    return {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}[str(kind)]


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default in (None, "", [], {}):
        return ""
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, float) and value.get("type") != "number":
        return format_seconds(default)
    if isinstance(default, list):
        return ", ".join(f"`{each}`" for each in default)
    if value.get("type") == ["string", "integer"]:
        return str(format_size(default))
    return f"`{default}`"


def _arguments(parameters: tuple[str, ...], optional: int) -> str:
    if not parameters:
        return ""
    needed = len(parameters) - optional
    return "(" + ", ".join(name if n < needed else f"[{name}]" for n, name in enumerate(parameters)) + ")"


def _anchor(title: str) -> str:
    return title.lower().replace(".", "").replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    made = page()
    if sys.argv[1:] == ["--check"]:
        current = PAGE.read_text() if PAGE.exists() else ""
        if current != made:
            sys.exit(f"{PAGE} is not what the schema says; run scripts/make_reference.py")
    else:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(made)
