"""Settings by name, from either file."""

from __future__ import annotations

from ferryman.config.dialects.ats.records import Records
from ferryman.config.source import Diagnostics, Source


def lines(text: str) -> tuple[Records, list[str]]:
    diagnostics = Diagnostics()
    records = Records(diagnostics)
    records.read_lines(Source("records.config", text))
    records.say_idle()
    return records, [str(finding).removeprefix("records.config:") for finding in diagnostics.found]


def tree(text: str) -> tuple[Records, list[str]]:
    diagnostics = Diagnostics()
    records = Records(diagnostics)
    records.read_tree(Source("records.yaml", text))
    records.say_idle()
    return records, [str(finding).removeprefix("records.yaml:") for finding in diagnostics.found]


def test_lines() -> None:
    records, said = lines("""# comment
CONFIG proxy.config.http.server_ports STRING 443:ssl   8080
 CONFIG proxy.config.http.connect_attempts_timeout INT 5
CONFIG proxy.config.http.connect_attempts_timeout INT 7
CONFIG proxy.config.ssl.CA.cert.filename STRING NULL
LOCAL proxy.local.incoming_ip_to_bind STRING 127.0.0.1
""")
    assert said == []
    assert records.given
    assert not records.modern
    assert records.text("http.server_ports") == "443:ssl   8080"
    assert records.number("http.connect_attempts_timeout", 30) == 7
    assert records.word("ssl.CA.cert.filename") is None
    assert records.text("incoming_ip_to_bind") == "127.0.0.1"
    assert records.enabled("ssl.TLSv1_2", True)


def test_a_tree() -> None:
    records, said = tree("""
records:
  http:
    server_ports: 443:ssl
  ssl:
    TLSv1_3:
      enabled: 0
    server:
      cert: {path: /certs}
---
records:
  http: {connect_attempts_timeout: !!int '9'}
""")
    assert said == []
    assert records.modern
    assert records.text("http.server_ports") == "443:ssl"
    assert not records.enabled("ssl.TLSv1_3", True)
    assert records.folder("ssl.server.cert.path", "/etc") == "/certs"
    assert records.number("http.connect_attempts_timeout", 30) == 9


def test_what_is_about_http_is_said_once() -> None:
    _, said = lines("""CONFIG proxy.config.cache.ram_cache.size INT -1
CONFIG proxy.config.log.logging_enabled INT 3
CONFIG proxy.config.log.max_space_mb_for_logs INT 3
""")
    assert said == [
        "1:8: warning: 3 settings have no effect here: cache, log; "
        "ferryman carries connections, and looks at no HTTP in them"
    ]


def test_mistakes() -> None:
    _, said = lines("""CONFIG proxy.config.http.server_ports
CONFIG proxy.config.ssl.server.cert.pth STRING /x
CONFIG proxy.config.http.connect_attempts_timeout INT soon
CONFIG proxy.config.ssl.server.cert_chain.filename STRING chain.pem
CONFIG proxy.config.ssl.keylog_file STRING /tmp/keys
CONFIG nonsense INT 1
""")
    assert said == [
        "1:1: error: this is no record; such as CONFIG proxy.config.http.server_ports STRING 443:ssl",
        "2:8: warning: there is no record 'proxy.config.ssl.server.cert.pth'; "
        "did you mean 'proxy.config.ssl.server.cert.path'?",
        "3:8: error: proxy.config.http.connect_attempts_timeout is INT, and 'soon' is no number",
        "4:8: error: 'proxy.config.ssl.server.cert_chain.filename' is Traffic Server's, not supported by ferryman yet; "
        "append it to the certificates' files",
        "5:8: warning: 'proxy.config.ssl.keylog_file' has no effect here; secrets are written nowhere",
        "6:8: warning: there is no record 'nonsense'; it has no effect",
    ]


def test_values_are_looked_at_where_they_are_used() -> None:
    diagnostics = Diagnostics()
    records = Records(diagnostics)
    records.read_tree(Source("r", "records:\n  ssl: {TLSv1_2: maybe, handshake_timeout_in: soon, server: [1]}\n"))
    assert records.enabled("ssl.TLSv1_2", True)
    assert records.number("ssl.handshake_timeout_in", 30) == 30
    assert [finding.message for finding in diagnostics.found] == [
        "proxy.config.ssl.server takes one value",
        "'maybe' is neither on nor off",
        "'soon' is not a number",
    ]


def test_no_tree() -> None:
    assert tree("- a\n")[1] == ["1:1: error: a records.yaml is a mapping; begin with `records:`"]


def test_relative_folders_are_those_of_the_installation() -> None:
    records, _ = lines("""CONFIG proxy.config.ssl.server.cert.path STRING etc/trafficserver
CONFIG proxy.config.ssl.client.cert.path STRING clients
""")
    assert records.folder("ssl.server.cert.path", "/opt/ts/etc/trafficserver") == "/opt/ts/etc/trafficserver"
    assert records.folder("ssl.client.cert.path", "/etc/ts") == "/etc/ts/clients"
    assert records.folder("ssl.CA.cert.path", "/etc/ts") == "/etc/ts"
