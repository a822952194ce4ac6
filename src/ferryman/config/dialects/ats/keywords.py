"""Traffic Server's keywords, and what ferryman makes of each: the tables this dialect looks into.

A row is: names, what becomes of them, and a note for people. Read by whatever reads the files, by the reference
documentation and by its test. Records are listed where layer 4 has to do with them; of all others only the family is
known (`family`), since none of them has an effect here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics

YES: Final = "yes"  # does what it does in Traffic Server
QUIET: Final = "quiet"  # accepted without a word: leaving it out changes nothing an operator could notice
INERT: Final = "inert"  # accepted with a warning: it has no effect
NOT_YET: Final = "not yet"  # refused by name


@dataclass(frozen=True, slots=True)
class Keyword:
    """One name of a table."""

    name: str
    support: str
    note: str = ""


class Table:
    """Keywords by name. `what` is how messages call one of them."""

    def __init__(self, what: str, rows: str) -> None:
        self.what = what
        self.rows: dict[str, Keyword] = {}
        for row in filter(None, map(str.strip, rows.splitlines())):
            names, support, note = (cell.strip() for cell in (row + "||").split("|")[:3])
            for name in names.split():
                self.rows[name] = Keyword(name, support, note)

    def __iter__(self) -> Iterator[Keyword]:
        return iter(self.rows.values())

    def wanted(self, word: Word, name: str, diagnostics: Diagnostics) -> bool:
        """Is what stands at `word` to be read? If not, what there is to say of it is said.

        Raises Mistake when it is unknown, or not supported.
        """
        row = self.rows.get(name)
        if row is None:
            raise Mistake(word, f"unknown {self.what} {name!r}", nearest(name, self.rows))
        if row.support == NOT_YET:
            raise Mistake(word, f"{name!r} is Traffic Server's, not supported by ferryman yet", row.note)
        if row.support == INERT:
            message = f"{name!r} has no effect here"
            said = row.note or message  # what several keywords have in common is said once
            if not any(said in (finding.message, finding.hint) for finding in diagnostics.found):
                diagnostics.warning(word.mark, message, row.note)
        return row.support == YES


SNI: Final = Table(
    "key of sni.yaml",
    """
    fqdn | yes | a name, `*.` and a name for all below it, or `*`; the first entry that fits counts
    inbound_port_ranges | yes |
    ip_allow | yes | addresses, networks, ranges; `@FILE` with these
    tunnel_route | yes | `$1`, `{inbound_local_port}`, `{proxy_protocol_port}`; without a port: the one of the client
    forward_route | yes | TLS ends here; the server gets what was within
    partial_blind_route | yes | TLS ends here, and begins again
    tunnel_alpn | yes | of partial_blind_route; adds to what `http2` leaves, and takes nothing away
    verify_client | yes | NONE, MODERATE, STRICT
    verify_client_ca_certs | yes | a file; not `dir`
    verify_server_policy | yes | of connections to what `fqdn` names; PERMISSIVE is as DISABLED
    verify_server_properties | yes | ALL, SIGNATURE, NONE; not NAME alone
    client_cert client_key | yes | of connections to what `fqdn` names
    client_sni_policy | yes | host, remap, server_name, verify_with_name_source, `@name`
    valid_tls_versions_in valid_tls_version_min_in valid_tls_version_max_in | yes | 1.2 and 1.3
    server_cipher_suite server_TLSv1_3_cipher_suites server_groups_list | yes |
    http2 disable_h2 | yes | whether h2 is among the application protocols offered to clients
    ssl_ticket_enabled | yes |
    ssl_ticket_number | inert | OpenSSL's number is used
    host_sni_policy | inert | no HTTP is looked at
    http2_buffer_water_mark http2_initial_window_size_in http2_max_settings_frames_per_minute | inert | of HTTP/2
    http2_max_ping_frames_per_minute http2_max_priority_frames_per_minute | inert | of HTTP/2
    http2_max_rst_stream_frames_per_minute http2_max_continuation_frames_per_minute | inert | of HTTP/2
    http2_max_empty_frames_per_minute | inert | of HTTP/2
    quic | inert | there is no QUIC
    server_max_early_data | inert | there is no early data
    tunnel_prewarm tunnel_prewarm_min tunnel_prewarm_max tunnel_prewarm_rate | yes |
    tunnel_prewarm_inactive_timeout | yes |
    tunnel_prewarm_connect_timeout | inert | all connections to servers have http.connect_attempts_timeout
    tunnel_prewarm_srv | inert | no SRV records are looked up
    """,
)

PORT: Final = Table(
    "option of a port",
    """
    ssl | yes |
    ipv4 ipv6 ip-in | yes |
    ip-out | yes |
    pp | yes | a PROXY header has to come; with proxy_protocol_allowlist: of these, and nobody else may connect
    pp-clnt | yes | the address in the header is the client's in any case
    tr-in tr-out tr-full | yes | by TPROXY; see `ferryman transparent`
    proto | yes | whether h2 is among the application protocols offered to clients
    compress mptcp ip-resolve tr-pass | inert |
    blind | not yet | write a listener with `connect`, or a squid.conf
    quic | not yet | there is no QUIC
    allow-plain | not yet | give plain connections a port of their own
    fd | not yet |
    uds-perm uds-user uds-group | not yet |
    """,
)

MULTICERT: Final = Table(
    "key of ssl_multicert.config",
    """
    ssl_cert_name ssl_key_name | yes | several with commas between, such as ECDSA and RSA
    dest_ip | yes | `*`, an address, or an address and a port
    ssl_ocsp_name | yes | in DER
    ssl_ticket_enabled | yes |
    ssl_ticket_number | inert | OpenSSL's number is used
    ssl_ca_name | not yet | append it to the certificate's file
    ssl_key_dialog | not yet | decrypt the key, or convert to native configuration, which has `password_file`
    action | not yet | write an entry with tunnel_route in sni.yaml
    """,
)

RECORDS: Final = Table(
    "record",
    """
    proxy.config.http.server_ports | yes | see below
    proxy.config.http.connect_ports | yes | of destinations whose port a connection says; a fixed one is allowed anyway
    proxy.config.http.connect_attempts_timeout proxy.config.http.connect_attempts_max_retries | yes |
    proxy.config.http.transaction_no_activity_timeout_in | yes | of tunnel_route; 30 seconds
    proxy.config.http.transaction_no_activity_timeout_out | yes | of tunnel_route; 30 seconds
    proxy.config.http.proxy_protocol_allowlist | yes |
    proxy.config.http.proxy_protocol_out | yes | -1, 1, 2
    proxy.config.net.default_inactivity_timeout | yes | of forward_route and partial_blind_route
    proxy.config.net.max_connections_in | yes | of all listeners together, if it is set
    proxy.config.net.listen_backlog | yes |
    proxy.config.incoming_ip_to_bind proxy.config.outgoing_ip_to_bind | yes | also as proxy.local…
    proxy.config.admin.user_id | yes | `#-1`: whoever started it
    proxy.config.exec_thread.autoconfig proxy.config.exec_thread.limit | yes | without autoconfig: so many workers
    proxy.config.ssl.server.cert.path proxy.config.ssl.server.private_key.path | yes |
    proxy.config.ssl.server.cipher_suite proxy.config.ssl.server.TLSv1_3.cipher_suites | yes |
    proxy.config.ssl.server.groups_list | yes |
    proxy.config.ssl.server.version.min proxy.config.ssl.server.version.max | yes | 1.2 and 1.3
    proxy.config.ssl.TLSv1 proxy.config.ssl.TLSv1_1 proxy.config.ssl.TLSv1_2 proxy.config.ssl.TLSv1_3 | yes |
    proxy.config.ssl.server.session_ticket.enable | yes |
    proxy.config.ssl.handshake_timeout_in | yes |
    proxy.config.ssl.ocsp.response.path | yes | of ssl_ocsp_name
    proxy.config.ssl.client.certification_level | yes |
    proxy.config.ssl.CA.cert.filename proxy.config.ssl.CA.cert.path | yes | of clients' certificates
    proxy.config.ssl.client.verify.server.policy proxy.config.ssl.client.verify.server.properties | yes |
    proxy.config.ssl.client.CA.cert.filename proxy.config.ssl.client.CA.cert.path | yes | of servers' certificates
    proxy.config.ssl.client.cert.filename proxy.config.ssl.client.cert.path | yes |
    proxy.config.ssl.client.private_key.filename proxy.config.ssl.client.private_key.path | yes |
    proxy.config.ssl.client.sni_policy | yes | as client_sni_policy
    proxy.config.ssl.client.cipher_suite proxy.config.ssl.client.TLSv1_3.cipher_suites | yes |
    proxy.config.ssl.client.groups_list | yes |
    proxy.config.ssl.client.version.min proxy.config.ssl.client.version.max | yes | 1.2 and 1.3
    proxy.config.ssl.client.TLSv1 proxy.config.ssl.client.TLSv1_1 | yes |
    proxy.config.ssl.client.TLSv1_2 proxy.config.ssl.client.TLSv1_3 | yes |
    proxy.config.ssl.servername.filename proxy.config.ssl.server.multicert.filename | yes | which file is read beside it
    proxy.config.cache.ip_allow.filename | yes | which file is read beside it

    proxy.config.ssl.server.honor_cipher_order proxy.config.ssl.server.prioritize_chacha | quiet |
    proxy.config.ssl.server.session_ticket.number proxy.config.ssl.server.dhparams_file | quiet |
    proxy.config.ssl.server.multicert.exit_on_load_fail proxy.config.ssl.server.multicert.concurrency | quiet |
    proxy.config.ssl.client.cert.exit_on_load_fail proxy.config.ssl.client.scheme_proto_mismatch_policy | quiet |
    proxy.config.ssl.client.alpn_protocols | quiet |
    proxy.config.ssl.max_record_size proxy.config.ssl.misc.io.max_buffer_index | quiet |
    proxy.config.ssl.origin_session_cache proxy.config.ssl.origin_session_cache.size | quiet |
    proxy.config.ssl.session_cache proxy.config.ssl.session_cache.timeout | quiet |
    proxy.config.ssl.session_cache.auto_clear proxy.config.ssl.session_cache.size | quiet |
    proxy.config.ssl.session_cache.num_buckets | quiet |
    proxy.config.ssl.session_cache.skip_cache_on_bucket_contention | quiet |
    proxy.config.ssl.hsts_max_age proxy.config.ssl.hsts_include_subdomains | quiet |
    proxy.config.ssl.cert.load_elevated proxy.config.ssl.async.handshake.enabled | quiet |
    proxy.config.ssl.ktls.enabled proxy.config.ssl.server.cert_compression.algorithms | quiet |
    proxy.config.ssl.server.cert_compression.cache proxy.config.ssl.client.cert_compression.algorithms | quiet |
    proxy.config.ssl.server.max_early_data proxy.config.ssl.server.allow_early_data_params | quiet |
    proxy.config.ssl.ocsp.enabled proxy.config.ssl.ocsp.cache_timeout proxy.config.ssl.ocsp.request_timeout | quiet |
    proxy.config.ssl.ocsp.update_period proxy.config.ssl.ocsp.request_mode | quiet |
    proxy.config.tunnel.prewarm | yes |
    proxy.config.tunnel.activity_check_period proxy.config.tunnel.prewarm.algorithm | quiet |
    proxy.config.tunnel.prewarm.event_period proxy.config.tunnel.prewarm.max_stats_size | quiet |

    proxy.config.ssl.server.ticket_key.filename | inert | keys of tickets are made here, and replaced now and then
    proxy.config.ssl.client.verify.server | inert | write proxy.config.ssl.client.verify.server.policy
    proxy.config.ssl.keylog_file | inert | secrets are written nowhere
    proxy.config.ssl.allow_client_renegotiation | inert | clients cannot renegotiate
    proxy.config.ssl.engine.conf_file | inert |
    proxy.config.proxy_protocol.max_header_size | inert |

    proxy.config.ssl.server.cert_chain.filename | not yet | append it to the certificates' files
    proxy.config.net.per_client.max_connections_in | not yet |
    proxy.config.acl.subjects | not yet | the client is whom the PROXY header says, or else who connects
    proxy.config.cache.ip_categories.filename | not yet | write the addresses into ip_allow.yaml
    """,
)
"""Those of layer 4."""

HARMLESS: Final = {
    "proxy.config.net.per_client.max_connections_in": ("0",),
    "proxy.config.ssl.allow_client_renegotiation": ("0",),
    "proxy.config.ssl.server.cert_chain.filename": ("", "NULL"),
    "proxy.config.ssl.server.ticket_key.filename": ("", "NULL"),
    "proxy.config.ssl.keylog_file": ("", "NULL"),
    "proxy.config.ssl.engine.conf_file": ("", "NULL"),
    "proxy.config.acl.subjects": ("PEER", "PEER,PROXY", "PROXY,PEER"),
    "proxy.config.cache.ip_categories.filename": ("", "NULL"),
}
"""Values that ask for nothing."""

_FAMILIES: Final = """
accept_threads admin aio alarm allocator bin_path body_factory cache config config_update_interval_ms core_limit
crash_log_helper diags dns dump_mem_info_frequency env_prep error exec_thread header hostdb http http2 http3
http_ui_enabled io_uring jsonrpc lm local_state_dir log manager_binary memory mlock_enabled msg net output payload
plugin process_manager product_company product_name product_vendor proxy_binary proxy_binary_opts proxy_name quic
raw_stat_sync_interval_ms remote_sync_interval_ms res_track_memory restart reverse_proxy socks srv_enabled stat_api
stop syslog_facility syssyslog_facility system system_clock task_threads thread track_config_files udp
url_remap wccp websocket
"""


def family(name: str) -> str | None:
    """What a record is about, as far as its name says; None: no record has such a name."""
    parts = name.split(".")
    if len(parts) < 3 or parts[0] != "proxy" or parts[1] not in ("config", "local", "node"):
        return None
    return parts[2] if parts[2] in _FAMILIES.split() else None
