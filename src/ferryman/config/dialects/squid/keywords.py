"""Squid's directives, options and ACL types, and what ferryman makes of each: the tables this dialect looks into.

A row is: names, what becomes of them, a note for people, and values (separated by ;) that ask for nothing, so that
nothing is said of them. Read by the reader, by the reference documentation and by its test. Long because Squid has
nearly four hundred directives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics

YES: Final = "yes"  # does what it does in Squid
QUIET: Final = "quiet"  # accepted without a word: leaving it out changes nothing an operator could notice
INERT: Final = "inert"  # accepted with a warning: it has no effect
CACHE: Final = "cache"  # the same: it is about a cache, and there is none
NOT_YET: Final = "not yet"  # refused by name
GONE: Final = "gone"  # Squid has it no more, and ignores it; so do we, with a warning

_SAID: Final = {
    INERT: "has no effect here",
    CACHE: "has no effect here: nothing is cached",
    GONE: "is gone from Squid, and ignored",
}


@dataclass(frozen=True, slots=True)
class Keyword:
    """One name of a table. `harmless`: values that ask for nothing."""

    name: str
    support: str
    note: str = ""
    harmless: tuple[str, ...] = ()


class Table:
    """Keywords by name. `what` is how messages call one of them."""

    def __init__(self, what: str, rows: str) -> None:
        self.what = what
        self.rows: dict[str, Keyword] = {}
        for row in filter(None, map(str.strip, rows.splitlines())):
            names, support, note, harmless = (cell.strip() for cell in (row + "|||").split("|")[:4])
            values = tuple(value.strip() for value in harmless.split(";") if value.strip())
            for name in names.split():
                self.rows[name] = Keyword(name, support, note, values)

    def __iter__(self) -> Iterator[Keyword]:
        return iter(self.rows.values())

    def wanted(self, word: Word, name: str, value: str, diagnostics: Diagnostics) -> bool:
        """Is what stands at `word` to be read? If not, what there is to say of it is said.

        `name` with `value` is what the word stands for. Raises Mistake when it is unknown, or not supported.
        """
        row = self.rows.get(name)
        if row is None:
            raise Mistake(word, f"unknown {self.what} {name!r}", nearest(name, self.rows))
        if row.support == YES:
            return True
        if row.support == QUIET or value in row.harmless:
            return False
        if row.support == NOT_YET:
            raise Mistake(word, f"{name!r} is Squid's, not supported by ferryman yet", row.note)
        message = f"{name!r} {_SAID[row.support]}"
        if not any(finding.message == message for finding in diagnostics.found):  # once is enough
            diagnostics.warning(word.mark, message, row.note)
        return False


DIRECTIVES: Final = Table(
    "directive",
    """
    access_log | yes | stdio:, daemon:, syslog:, udp:, none; lines are JSON
    acl | yes | see below
    always_direct never_direct cache_peer_access | yes |
    auth_param | yes | basic with basic_ncsa_auth
    cache_effective_group cache_effective_user chroot | yes |
    cache_peer | yes | see below
    client_idle_pconn_timeout connect_timeout dns_timeout read_timeout | yes |
    http_access | yes |
    http_port https_port | yes | see below
    include | yes | relative names: of the current folder, as in Squid, else of the including file's
    logformat | yes | the name is known; lines are JSON
    nonhierarchical_direct prefer_direct | yes |
    on_unsupported_protocol | yes | on acl all, or on acls of type squid_error
    pid_filename | yes |
    request_header_access | yes | deny of headers that are never passed on anyway; Via, X-Forwarded-For: no effect
    request_header_max_size request_start_timeout request_timeout | yes |
    shutdown_lifetime | yes |
    ssl_bump | yes | splice, bump, peek, stare, terminate; none, client-first, server-first
    sslproxy_cafile sslproxy_flags | yes | as tls_outgoing_options
    tls_outgoing_options | yes | cafile, default-ca
    visible_hostname | yes |
    workers | yes |

    if else endif | not yet | write one file for each case
    configuration_includes_quoted_values | not yet | | off

    adaptation_access icap_access | inert | there is no ICAP | deny all
    adaptation_masterx_shared_names adaptation_meta adaptation_send_client_ip adaptation_send_username | quiet |
    adaptation_service_chain adaptation_service_iteration_limit adaptation_service_set | inert | there is no ICAP
    adaptation_uses_indirect_client icap_206_enable icap_class icap_client_username_encode | quiet |
    icap_client_username_header icap_connect_timeout icap_default_options_ttl icap_io_timeout | quiet |
    icap_log icap_persistent_connections icap_preview_enable icap_preview_size icap_retry icap_retry_limit | quiet |
    icap_service_failure_limit icap_service_revival_delay | quiet |
    icap_service ecap_service | inert | there is no ICAP
    icap_enable ecap_enable | not yet | requests are carried as they are | off
    loadable_modules | not yet |

    acl_uses_indirect_client delay_pool_uses_indirect_client log_uses_indirect_client | quiet |
    follow_x_forwarded_for | not yet | a client is the address it comes from | deny all
    tproxy_uses_indirect_client spoof_client_ip | quiet |
    proxy_protocol_access | not yet | clients speak no PROXY protocol here | deny all
    adapted_http_access miss_access http_reply_access | not yet | http_access decides | allow all
    external_acl_type | not yet |
    authenticate_ttl authenticate_cache_garbage_interval authenticate_ip_ttl auth_schemes | quiet |
    ident_lookup_access ident_timeout | inert | nobody is asked by ident | deny all
    host_verify_strict client_dst_passthru | quiet | of interception only
    reply_body_max_size request_body_max_size | not yet | bodies of any size are carried | none; 0 KB; 0
    client_request_buffer_max_size | quiet |
    client_ip_max_connections | not yet | | -1
    http_upgrade_request_protocols | inert | Upgrade is always passed on, and the stream that follows is tunnelled

    ftp_port | not yet |
    tcp_outgoing_address | not yet | the system chooses
    tcp_outgoing_tos tcp_outgoing_mark clientside_tos qos_flows | inert | packets are not marked
    mark_client_packet mark_client_connection | inert | packets are not marked
    tcp_recv_bufsize accept_filter | inert | the system's numbers are used

    ssl_unclean_shutdown ssl_engine sslproxy_session_ttl sslproxy_session_cache_size sslpassword_program | quiet |
    sslproxy_foreign_intermediate_certs | not yet | append them to the cafile
    sslproxy_cert_sign_hash | quiet | certificates are signed with SHA-256
    sslproxy_cert_error | not yet | add the server's CA with tls_outgoing_options cafile= | deny all
    sslproxy_cert_adapt sslproxy_cert_sign | not yet | names, dates and key usage are those of the server
    sslcrtd_program sslcrtd_children | inert | certificates are made by ferryman itself
    sslcrtvalidator_program sslcrtvalidator_children | not yet |
    sslproxy_capath sslproxy_client_certificate sslproxy_client_key | not yet | see tls_outgoing_options
    sslproxy_cipher sslproxy_options sslproxy_version | inert | see tls_outgoing_options

    neighbor_type_domain | not yet |
    dead_peer_timeout forward_max_tries peer_connect_timeout | quiet |
    connect_retries retry_on_error server_pconn_for_nonretriable | quiet |
    happy_eyeballs_connect_gap happy_eyeballs_connect_limit happy_eyeballs_connect_timeout | quiet |

    cache_mem cache_dir maximum_object_size maximum_object_size_in_memory minimum_object_size | cache |
    memory_cache_mode memory_cache_shared memory_replacement_policy cache_replacement_policy | cache |
    store_dir_select_algorithm max_open_disk_fds cache_swap_low cache_swap_high cache_swap_state | cache |
    refresh_pattern coredump_dir cache send_hit store_miss max_stale negative_ttl minimum_expiry_time | cache |
    cache_store_log | cache | | none
    store_id_program store_id_access store_id_bypass store_id_children store_id_extras | cache |
    quick_abort_min quick_abort_max quick_abort_pct read_ahead_gap range_offset_limit | cache |
    store_avg_object_size store_objects_per_bucket collapsed_forwarding collapsed_forwarding_access | cache |
    shared_transient_entries_limit refresh_all_ims reload_into_ims offline_mode vary_ignore_expire | cache |
    cache_miss_revalidate digest_generation digest_bits_per_entry digest_rebuild_period | cache |
    digest_rewrite_period digest_swapout_chunk_size digest_rebuild_chunk_percentage diskd_program | cache |
    unlinkd_program netdb_filename netdb_high netdb_low netdb_ping_period minimum_direct_hops | cache |
    minimum_direct_rtt query_icmp test_reachability background_ping_rate | cache |
    icp_port htcp_port snmp_port | inert | neither ICP nor SNMP is spoken; see the metrics of `ferryman status` | 0
    icp_access htcp_access htcp_clr_access snmp_access | inert | neither ICP nor SNMP is spoken | deny all
    icp_hit_stale icp_query_timeout maximum_icp_query_timeout minimum_icp_query_timeout log_icp_queries | quiet |
    mcast_groups mcast_icp_query_timeout mcast_miss_addr mcast_miss_encode_key mcast_miss_port | quiet |
    mcast_miss_ttl snmp_incoming_address snmp_outgoing_address udp_incoming_address udp_outgoing_address | quiet |

    cache_log debug_options | inert | messages go where `global.log` says: standard output
    logfile_rotate | inert | log files are opened anew on SIGHUP | 0
    logfile_daemon log_mime_hdrs strip_query_terms buffered_logs mime_table stats_collection umask | quiet |
    client_netmask | inert | addresses are logged whole | 255.255.255.255
    note | inert | lines of the log have no notes

    ftp_user ftp_passive ftp_epsv ftp_epsv_all ftp_eprt ftp_sanitycheck ftp_telnet_protocol | quiet | there is no FTP
    ftp_client_idle_timeout as_whois_server | quiet |
    pinger_program pinger_enable | quiet |
    url_rewrite_program | not yet | requests are carried as they are | none
    url_rewrite_access url_rewrite_bypass url_rewrite_children url_rewrite_extras url_rewrite_host_header | quiet |
    url_rewrite_timeout | quiet |

    via | inert | HTTP requests get `Via: 1.1 ferryman-…` | on
    forwarded_for | inert | X-Forwarded-For is left as it comes | transparent; off; delete; truncate
    reply_header_access reply_header_replace reply_header_add | not yet | replies are carried as they are
    request_header_add request_header_replace | not yet | requests are carried as they are
    request_entities relaxed_header_parser broken_posts uri_whitespace pipeline_prefetch | quiet |
    force_request_body_continuation reply_header_max_size | quiet |

    client_lifetime | inert | connections live as long as they are used
    forward_timeout | inert | connect_timeout counts for each attempt
    pconn_lifetime server_idle_pconn_timeout write_timeout | inert | read_timeout counts for both directions
    half_closed_clients | quiet | a direction that is closed is closed on the other side as well
    client_persistent_connections server_persistent_connections persistent_connection_after_error | quiet |
    detect_broken_pconn connection_auth | quiet |

    delay_pools client_delay_pools | not yet | every connection is as fast as it can be | 0
    delay_access delay_class delay_initial_bucket_level delay_parameters | quiet |
    client_delay_access client_delay_initial_bucket_level client_delay_parameters | quiet |
    response_delay_pool response_delay_pool_access | not yet | every connection is as fast as it can be

    deny_info error_directory error_default_language error_log_languages err_html_text | inert | errors are plain text
    err_page_stylesheet email_err_data icon_directory global_internal_static short_icon_urls | quiet |
    httpd_suppress_version_string cache_mgr mail_from mail_program unique_hostname hostname_aliases | quiet |
    httpd_accel_surrogate_id http_accel_surrogate_remote esi_parser | quiet |
    announce_file announce_host announce_period announce_port | quiet |
    cachemgr_passwd | inert | there is no cache manager; see `ferryman status`
    wccp_address wccp_router wccp_version wccp2_address wccp2_assignment_method wccp2_forwarding_method | not yet |
    wccp2_rebuild_wait wccp2_return_method wccp2_router wccp2_service wccp2_service_info wccp2_weight | not yet |

    dns_nameservers hosts_file append_domain dns_defnames | inert | names are resolved as /etc/nsswitch.conf says
    dns_multicast_local dns_packet_max dns_retransmit_interval ignore_unknown_nameservers | quiet |
    check_hostnames allow_underscore positive_dns_ttl negative_dns_ttl | quiet |
    ipcache_size ipcache_low ipcache_high fqdncache_size | quiet |

    max_filedescriptors | inert | the limit of the process is used; ulimit -n
    cpu_affinity_map | inert | the kernel places the workers
    shared_memory_locking hopeless_kid_revival_delay memory_pools memory_pools_limit client_db | quiet |
    incoming_dns_average incoming_tcp_average incoming_udp_average min_dns_poll_cnt min_tcp_poll_cnt | quiet |
    min_udp_poll_cnt high_memory_warning high_page_fault_warning high_response_time_warning | quiet |
    sleep_after_fork windows_ipaddrchangemonitor eui_lookup | quiet |

    broken_vary_encoding cache_vary error_map external_refresh_check location_rewrite_program | gone |
    refresh_stale_hit dns_v4_first cache_peer_domain ie_refresh hierarchy_stoplist log_access log_icap | gone |
    ignore_ims_on_miss balance_on_multiple_ip chunked_request_body_max_size dns_v4_fallback | gone |
    emulate_httpd_log forward_log ftp_list_width ignore_expect_100 log_fqdn log_ip_on_direct | gone |
    maximum_single_addr_tries referer_log update_headers url_rewrite_concurrency useragent_log | gone |
    dns_testnames extension_methods zero_buffers incoming_rate server_http11 upgrade_http0.9 | gone |
    zph_local header_access httpd_accel_no_pmtu_disc wais_relay_host wais_relay_port | gone |
    """,
)

PORT: Final = Table(
    "http_port option",
    """
    ssl-bump | yes |
    name | yes |
    tcpkeepalive | yes | on; the system's numbers are used
    tls-cert cert | yes | the CA that signs the certificates of bumped connections
    tls-key key | yes | default: in the same file
    dynamic_cert_mem_cache_size | yes |
    generate-host-certificates | yes | off: not yet
    intercept transparent tproxy | not yet | clients have to be told of the proxy; proxy_auth cannot work here anyway
    accel vhost vport defaultsite act-as-origin allow-direct ignore-cc no-vhost | not yet | this is no accelerator
    require-proxy-header | not yet | clients speak no PROXY protocol here
    protocol | not yet | | HTTP; http; HTTP/1.1
    connection-auth | quiet |
    disable-pmtu-discovery worker-queues | inert | the system's way is used | off
    tls-cafile cafile clientca capath crlfile | inert | clients are asked for no certificate
    cipher options tls-min-version version tls-dh dhparams sslflags | inert | OpenSSL's defaults are used
    sslcontext tls-context | quiet |
    tls-default-ca tls-no-npn | quiet |
    """,
)

TLS_PORT: Final = Table(
    "https_port option",
    """
    tls-min-version | yes | older than 1.2: 1.2
    cipher | yes | of TLS 1.2
    clientca tls-cafile cafile | yes | clients show certificates that it has signed
    sslflags | yes | CONDITIONAL_AUTH, NO_DEFAULT_CA; others: not yet
    capath crlfile | not yet | write clientca=FILE
    ssl-bump | not yet | of interception only; write http_port
    options version tls-dh dhparams | inert | OpenSSL's defaults are used
    """,
)

PEER: Final = Table(
    "cache_peer option",
    """
    name | yes | default: the host
    login | yes | user:password, PASS, PASSTHRU, PROXYPASS
    tls ssl | yes |
    tls-cafile sslcafile | yes | instead of the system's CAs
    tls-domain ssldomain | yes |
    tls-flags sslflags | yes | DONT_VERIFY_PEER; others: not yet
    default no-query proxy-only no-digest no-netdb-exchange no-tproxy standby allow-miss | quiet |
    max-conn closest-only background-ping digest-url htcp multicast-responder multicast-siblings ttl | quiet |
    connect-fail-limit connection-auth no-delay | quiet |
    connect-timeout | inert | connect_timeout counts
    round-robin weighted-round-robin carp userhash sourcehash | inert | peers are tried in the order of the file
    weight basetime carp-key | inert | peers are tried in the order of the file
    originserver forceddomain auth-no-keytab | not yet | this is no accelerator
    tls-cert sslcert tls-key sslkey | not yet | peers get no certificate of ours
    tls-capath sslcapath tls-crlfile sslcrlfile | not yet | write tls-cafile=
    tls-min-version tls-options ssloptions tls-cipher sslcipher sslversion | inert | OpenSSL's defaults are used
    front-end-https | quiet |
    tls-default-ca tls-no-npn | quiet |
    """,
)

TLS: Final = Table(
    "option of outgoing TLS",
    """
    cafile | yes | instead of the system's CAs
    default-ca | yes | off: with cafile, as without
    flags | not yet | add the server's CA with cafile=
    min-version version options cipher | inert | OpenSSL's defaults are used
    capath crlfile | not yet | write cafile=
    cert key | not yet | servers get no certificate of ours
    disable domain | not yet |
    """,
)

AUTH: Final = Table(
    "auth_param basic parameter",
    """
    program | yes | …/basic_ncsa_auth FILE: the file is read, no program is run; others: not yet
    realm | yes |
    credentialsttl | yes |
    casesensitive | yes |
    children concurrency | quiet | passwords are verified by ferryman itself
    utf8 | quiet | passwords are taken as UTF-8
    key_extras | not yet |
    blankpassword | not yet | empty passwords are refused | off
    """,
)

TYPES: Final = Table(
    "acl type",
    """
    src dst localip | yes | addresses, ranges, networks, all, ipv4, ipv6; names: not yet
    dstdomain | yes | what the client asked for; addresses are not turned into names
    dstdom_regex | yes |
    port localport | yes |
    myportname | yes |
    method | yes |
    proto | yes | HTTP holds for requests that are no CONNECT; others never hold
    proxy_auth proxy_auth_regex | yes |
    ssl::server_name | yes | also --client-requested; --server-provided and --consensus: not yet
    ssl::server_name_regex | yes |
    at_step | yes |
    any-of all-of | yes |
    time | yes |
    squid_error | yes | in on_unsupported_protocol
    myip | not yet | write localip
    myport | not yet | write localport
    url_regex urlpath_regex urllogin | not yet | write dstdomain or dstdom_regex
    srcdomain srcdom_regex | not yet | clients' addresses are not turned into names; write src
    arp eui64 | not yet | write src
    src_as dst_as peername peername_regex | not yet |
    browser referer_regex req_header req_mime_type rep_header rep_mime_type http_status | not yet |
    maxconn max_user_ip random | not yet |
    ident ident_regex ext_user ext_user_regex external tag user_cert ca_cert | not yet | write proxy_auth
    note annotate_client annotate_transaction has transaction_initiator hier_code adaptation_service | not yet |
    ssl_error server_cert_fingerprint connections_encrypted | not yet |
    client_connection_mark clientside_mark snmp_community | not yet |
    """,
)

HEADERS: Final = Table(
    "header to deny",
    """
    proxy-authorization proxy-connection keep-alive te | quiet |
    via | inert | HTTP requests get `Via: 1.1 ferryman-…`
    x-forwarded-for | inert | it is left as it comes
    """,
)
"""What `request_header_access` may deny; all others pass as they are, and denying them is refused."""
