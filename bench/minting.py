"""How many certificates for new names a CPU second makes: `python -m bench.minting`."""

from __future__ import annotations

import datetime
from time import process_time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

from ferryman.controlplane.minting import Authority, HostCertificates, Leaf

COUNT = 2000
BATCH = 100  # the best of these counts: what else the machine does can only slow them down


def signed(name: str, key: CertificateIssuerPrivateKeyTypes) -> x509.Certificate:
    """A certificate with this name, like a server's, or a CA's as far as it matters here."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName(f"www.{name}")]), critical=False)
        .sign(key, hashes.SHA256())
    )


def main() -> None:
    server_key = ec.generate_private_key(ec.SECP256R1())
    servers = [
        signed(f"host-{number}.example", server_key).public_bytes(serialization.Encoding.DER) for number in range(COUNT)
    ]
    authorities: dict[str, CertificateIssuerPrivateKeyTypes] = {
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "RSA 2048": rsa.generate_private_key(65537, 2048),
        "RSA 4096": rsa.generate_private_key(65537, 4096),
    }
    for kind, key in authorities.items():
        for label, own in (("one key for all", False), ("a key for each", True)):
            made = HostCertificates(Authority(signed("CA", key), key, ""), Leaf(), cache=4 << 20)
            best = 0.0
            for number in range(0, COUNT, BATCH):
                start = process_time()
                for server in servers[number : number + BATCH]:
                    made.leaf = Leaf() if own else made.leaf
                    made.get(server, "", "")
                best = max(best, BATCH / (process_time() - start))
            print(f"authority {kind:8}  {label:15}  {best:6.0f} new names per CPU second")


if __name__ == "__main__":
    main()
