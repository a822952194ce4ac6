"""Which file is it?"""

from __future__ import annotations

import pytest

from ferryman.config.dialects.ats import kinds
from ferryman.config.source import Source


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("x", "sni:\n- fqdn: a\n", kinds.SNI),
        ("x", "# x\nrecords:\n  ssl: {}\n", kinds.RECORDS_YAML),
        ("x", "CONFIG proxy.config.x INT 1\n", kinds.RECORDS),
        ("x", "dest_ip=* ssl_cert_name=a.pem\n", kinds.MULTICERT),
        ("x", "ip_allow:\n", kinds.IP_ALLOW),
        ("/etc/remap.config", "map http://a http://b\n", kinds.OTHER),
        ("/etc/sni.yaml", "# nothing\n", kinds.SNI),
        ("x.yaml", "listeners: {}\n", ""),
        ("x.cfg", "frontend x\n", ""),
    ],
)
def test_kind(name: str, text: str, kind: str) -> None:
    assert kinds.kind(Source(name, text)) == kind


def test_what_says_nothing() -> None:
    assert kinds.is_bare(Source("x", "\n # a\n"))
    assert not kinds.is_bare(Source("x", "a\n"))
