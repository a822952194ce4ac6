"""Reading text in tests: what Traffic Server's files become, what was found in them, and files they may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme

from ferryman.config.dialects import ats
from ferryman.config.load import Loaded, load
from ferryman.config.source import Diagnostics, Source

RECORDS = """CONFIG proxy.config.http.server_ports STRING 443:ssl
CONFIG proxy.config.http.connect_ports STRING *
"""
NAMES = {"sni": "sni.yaml", "records": "records.config", "certs": "ssl_multicert.config", "allow": "ip_allow.yaml"}
CERTS = "dest_ip=* ssl_cert_name=/default.pem\n"


def sources(sni: str, records: str = "", certs: str = "", allow: str = "") -> list[Source]:
    texts = {"sni": sni, "records": RECORDS + records, "certs": certs, "allow": allow}
    return [Source(NAMES[key], text) for key, text in texts.items() if text]


def parsed(sni: str, records: str = "", certs: str = "", allow: str = "") -> tuple[Any, list[str]]:
    """The native data, and every finding of the dialect as text."""
    diagnostics = Diagnostics()
    document = ats.parse(sources(sni, records, certs, allow), diagnostics, {})
    return document.data, [str(finding) for finding in diagnostics.found]


def native(sni: str, records: str = "", certs: str = "", allow: str = "") -> Any:
    """The native data of files in which nothing is found wrong."""
    data, found = parsed(sni, records, certs, allow)
    assert found == []
    return data


def listener(sni: str, records: str = "", certs: str = "", allow: str = "") -> Any:
    """The only listener."""
    return native(sni, records, certs, allow)["listeners"]["443"]


def entry(text: str) -> str:
    """An sni.yaml with one entry, for a.example."""
    return f"sni:\n- fqdn: a.example\n  {text}\n"


def loaded(folder: Path, **texts: str) -> tuple[Loaded, list[str]]:
    """What config.load makes of files in a folder, and every finding as text."""
    found = []
    for key, text in texts.items():
        path = folder / NAMES[key]
        path.write_text(text)
        found.append(Source(str(path), text))
    result = load(found, "trafficserver", environment={})
    return result, [str(finding).removeprefix(f"{folder}/") for finding in result.diagnostics.found]


def certificates(folder: Path) -> Path:
    """A CA, a server's certificate and a client's, each with its key."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("default", "client"):
        path = folder / f"{name}.pem"
        ca.issue_cert(f"{name}.example").private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
    return folder
