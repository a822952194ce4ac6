"""The sections of the native schema that concern TLS: with clients (`tls` of listeners) and with servers.

Part of config.model; the same rules hold: field descriptions are the reference documentation.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from ferryman.config.fields import Condition, FileName, Seconds, Section, one_or_list, text_for
from ferryman.config.values import shown

Texts = Annotated[list[str], BeforeValidator(one_or_list, json_schema_input_type=str | list[str])]


def _version_text(value: object) -> object:
    """YAML reads 1.2 as a number."""
    return str(value) if isinstance(value, float) else value


def _fingerprint(value: str) -> str:
    plain = re.sub("[: ]", "", value).lower()
    if not re.fullmatch("[0-9a-f]{64}", plain):
        hint = "`openssl x509 -noout -fingerprint -sha256 -in FILE` shows it"
        raise ValueError(f"{shown(value)} is no SHA-256 fingerprint, which has 64 hexadecimal digits; {hint}")
    return plain


def _protocol(value: str) -> str:
    if not value or len(value.encode()) > 255 or not value.isascii() or not value.isprintable() or "," in value:
        raise ValueError(
            f"{shown(value)} is no application protocol; such as h2 or http/1.1, each an entry of the list"
        )
    return value


def _word_or_list(value: object) -> str:
    return "<word>" if value in ("received", "none") else "<list>"


def _boolean_or_mapping(value: object) -> str:
    return "<mapping>" if isinstance(value, dict | BaseModel) else "<boolean>"


Version = Annotated[
    Literal["1.2", "1.3"],
    BeforeValidator(_version_text),
    WithJsonSchema({"anyOf": [{"enum": ["1.2", "1.3"]}, {"enum": [1.2, 1.3]}]}),
]
Protocol = Annotated[str, AfterValidator(_protocol)]
Protocols = Annotated[list[Protocol], BeforeValidator(one_or_list, json_schema_input_type=Protocol | list[Protocol])]
Offered = Annotated[
    Annotated[Literal["received", "none"], Tag("<word>")] | Annotated[Protocols, Tag("<list>")],
    Discriminator(_word_or_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "examples": ["received", "none", "h2"]},
                {"type": "array", "items": {"type": "string"}},
            ]
        }
    ),
]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]


class CertificateSettings(Section):
    """A certificate with its key. Plain text stands for {file: …}."""

    file: FileName = Field(min_length=1)
    """PEM file with the certificate, what signed it, and perhaps its key; of listeners also a folder of such files"""
    key: FileName = ""
    """file with its key; default: it is in `file`, or in FILE.key beside it"""
    password_file: FileName = ""
    """file whose first line opens the key; nobody is ever asked at a terminal"""
    ocsp: FileName = ""
    """file with the OCSP response to staple, in DER; default: FILE.ocsp where there is one"""
    names: Texts = []
    """names that it is used for; default: all those in it"""


CertificateEntry = Annotated[CertificateSettings, text_for("file", CertificateSettings, ["/etc/ferryman/web.pem"])]


class ClientCertificateSettings(Section):
    """Whether clients show certificates, and who may have signed these."""

    certificate: Literal["none", "optional", "required"] = "required"
    """optional: also clients without one are let in; a certificate that is shown has to be good in any case"""
    ca: FileName = ""
    """file with the certificates of those who may have signed it"""
    crl: FileName = ""
    """file with lists of those that have been revoked, of each CA one (PEM)"""


class LimitSettings(Section):
    """What may be negotiated."""

    min_version: Version = "1.2"
    """oldest version of TLS"""
    max_version: Version | None = None
    """newest version of TLS; default: the newest there is"""
    ciphers: str = ""
    """of TLS 1.2, in OpenSSL's language; default: OpenSSL's own"""
    ciphersuites: str = ""
    """of TLS 1.3, with colons between; default: OpenSSL's own"""
    groups: str = ""
    """of the key exchange, such as X25519:P-256; of those both sides have, the client's first counts with TLS 1.3;
    default: OpenSSL's own"""


class TlsCaseSettings(LimitSettings):
    """TLS with clients. In a list of these the first whose `when` holds decides; if none does, TLS stays untouched."""

    when: Condition = None
    """default: always"""
    terminate: bool = True
    """false: leave the stream untouched"""
    certificates: Annotated[
        list[CertificateEntry],
        BeforeValidator(one_or_list, json_schema_input_type=CertificateEntry | list[CertificateEntry]),
    ] = []
    """what clients get to see, by the name they ask for; without one that fits they see the first"""
    strict: bool = False
    """refuse clients that ask for a name that none of them is for, or for none"""
    alpn: Protocols = []
    """application protocols, preferred first; default: what the server chose where it speaks TLS, else none"""
    clients: ClientCertificateSettings | None = None
    """certificates of clients; default: none is asked for"""
    tickets: bool = True
    """let clients resume their sessions"""
    handshake_timeout: Seconds = Field(default=10.0, gt=0)
    """for a client's handshake"""


TlsCases = Annotated[
    list[TlsCaseSettings],
    BeforeValidator(one_or_list, json_schema_input_type=TlsCaseSettings | list[TlsCaseSettings]),
]


class TlsServerSettings(LimitSettings):
    """TLS with servers."""

    verify: bool = True
    """verify the server's certificate"""
    ca: FileName = ""
    """file with the certificates that verify it; default: the system's"""
    fingerprints: Annotated[
        list[Fingerprint], BeforeValidator(one_or_list, json_schema_input_type=Fingerprint | list[Fingerprint])
    ] = []
    """SHA-256 of the server's certificate, in hexadecimal: it is trusted if it is one of these, whoever signed it"""
    server_name: str | None = None
    """what the server is asked for: a name, received (by the client), or none; default: as received, else the host of
    the address if it is a name"""
    verify_name: str = ""
    """the name in its certificate, "*" for any; default: what it was asked for, else the host of the address"""
    certificate: CertificateEntry | None = None
    """shown to the server; default: none"""
    alpn: Offered | None = None
    """application protocols offered: a list, received (from the client), or none; default: as received where the TLS of
    clients is terminated, else none"""
    resume: bool = True
    """resume sessions"""


TlsServer = Annotated[
    Annotated[bool, Tag("<boolean>")] | Annotated[TlsServerSettings, Tag("<mapping>")],
    Discriminator(_boolean_or_mapping),
]


def shortened_cases(cases: list[dict[str, Any]]) -> Any:
    """`tls` of a listener in its shortest form, for config.emit."""
    for case in cases:
        if "certificates" in case:
            entries = [_shortened(entry) for entry in case["certificates"]]
            case["certificates"] = entries[0] if len(entries) == 1 else entries
    return cases[0] if len(cases) == 1 else cases


def shortened_server(settings: Any) -> Any:
    """`tls` of a backend or a server in its shortest form, for config.emit."""
    if isinstance(settings, dict):
        if "certificate" in settings:
            settings["certificate"] = _shortened(settings["certificate"])
        return settings or True
    return settings


def _shortened(entry: dict[str, Any]) -> Any:
    return entry["file"] if entry.keys() == {"file"} else entry
