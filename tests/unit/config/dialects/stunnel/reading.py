"""Reading text in tests: what a stunnel.conf becomes, and what was found in it; and files that it may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme

from ferryman.config.dialects import stunnel
from ferryman.config.load import Loaded, load
from ferryman.config.source import Diagnostics, Source

CLIENT = "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = host.example:2\n"
SERVER = "[s]\naccept = 1\nconnect = 2\ncert = c.pem\n"


def parsed(text: str) -> tuple[Any, list[str]]:
    """The native data, and every finding of the dialect as text."""
    diagnostics = Diagnostics()
    document = stunnel.parse([Source("s.conf", text)], diagnostics, {})
    return document.data, [str(finding).removeprefix("s.conf:") for finding in diagnostics.found]


def fine(text: str) -> Any:
    """The native data of a text in which the dialect finds nothing wrong."""
    data, found = parsed(text)
    assert found == []
    return data


def mistake(text: str) -> str:
    """The only finding, which is an error."""
    _, found = parsed(text)
    assert len(found) == 1, found
    assert ": error: " in found[0]
    return found[0].partition(": error: ")[2]


def loaded(text: str) -> tuple[Loaded, list[str]]:
    """What config.load makes of it, and every finding as text."""
    result = load([Source("s.conf", text)], "stunnel", environment={})
    return result, [str(finding).removeprefix("s.conf:") for finding in result.diagnostics.found]


def files(folder: Path) -> Path:
    """A CA, a certificate with its key that it signed, one of a client, and one of another CA."""
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, authority, host in (
        ("server", ca, "server.test"),
        ("client", ca, "client.test"),
        ("far", other, "a.test"),
    ):
        leaf = authority.issue_cert(host, common_name=name)
        path = folder / f"{name}.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
        leaf.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
    (folder / "both.pem").write_bytes((folder / "client.crt").read_bytes() + (folder / "ca.pem").read_bytes())
    (folder / "parts").mkdir()
    (folder / "parts" / "10-one.conf").write_text(
        "[one]\nclient = yes\naccept = 127.0.0.1:1\nconnect = host.example:2\n"
    )
    return folder
