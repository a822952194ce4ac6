"""Reading text in tests: what a squid.conf becomes, and what was found in it; and files that it may name."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ferryman.config.dialects import squid
from ferryman.config.load import Loaded, load
from ferryman.config.source import Diagnostics, Source

OPEN = "http_access deny to_localhost\nhttp_access deny to_linklocal\nhttp_access allow all\n"
"""Lines that let everybody in, but for what there would be a warning about."""


def parsed(text: str) -> tuple[Any, list[str]]:
    """The native data, and every finding of the dialect as text."""
    diagnostics = Diagnostics()
    document = squid.parse([Source("s.conf", text)], diagnostics, {})
    return document.data, [str(finding).removeprefix("s.conf:") for finding in diagnostics.found]


def connect(text: str) -> Any:
    """The `connect` of the only listener of a file in which nothing is found wrong."""
    data, found = parsed(f"http_port 3128\n{text}")
    assert found == []
    return data["listeners"]["3128"]["connect"]


def loaded(text: str) -> tuple[Loaded, list[str]]:
    """What config.load makes of it, and every finding as text."""
    result = load([Source("s.conf", text)], "squid", environment={})
    return result, [str(finding).removeprefix("s.conf:") for finding in result.diagnostics.found]


def files(folder: Path) -> Path:
    """A CA, users, names, and a piece of configuration."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "ca.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    (folder / "ca.key").chmod(0o600)
    (folder / "users").write_text("bob:$apr1$aaaaaaaa$S8C4b4oTQ9fWHaiXU9RYq/\n")
    (folder / "names").write_text("# names\n.a.example\n  www.b.example  # the other one\n\n")
    (folder / "more.conf").write_text("http_access deny all\n")
    return folder
