"""Sample expressions, `req.ssl_sni,lower`, into native ones, `sni|lower` (HAProxy manual, 7.3 and 7.1.3).

Used by acl.py, by `capture` and by `use_backend %[…]`. Facts that HAProxy has and ferryman lacks are refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ferryman.config.dialects.haproxy.keywords import word_set
from ferryman.config.nearest import nearest
from ferryman.config.place import Mistake, Word
from ferryman.rules import expression as native
from ferryman.rules.facts import Needs


@dataclass(frozen=True, slots=True)
class Sample:
    """An expression in native text. `method`: what a test compares with unless told; "": it has to be told."""

    text: str
    method: str
    needs: Needs
    backend: str = ""  # whose servers it counts


FETCHES: Final[dict[str, str]] = {
    "always_false": "always_false",
    "always_true": "always_true",
    "bool": "boolean",
    "capture.req.hdr": "capture",
    "date": "date",
    "dst": "local_address",
    "dst_port": "local_port",
    "fc_dst": "local_address",
    "fc_dst_port": "local_port",
    "fc_pp_authority": "proxy_authority",
    "fc_pp_tlv": "proxy_tlv",
    "fc_pp_unique_id": "proxy_unique_id",
    "fc_rcvd_proxy": "proxied",
    "fc_src": "client_address",
    "fc_src_port": "client_port",
    "fe_name": "listener",
    "int": "integer",
    "nbsrv": "usable_servers",
    "payload": "payload",
    "payload_lv": "payload_lv",
    "rdp_cookie": "rdp_cookie",
    "req.len": "length",
    "req.payload": "payload",
    "req.payload_lv": "payload_lv",
    "req.proto_http": "proto_http",
    "req.rdp_cookie": "rdp_cookie",
    "req.ssl_alpn": "alpn",
    "req.ssl_cipherlist": "ciphers",
    "req.ssl_hello_type": "hello_type",
    "req.ssl_keyshare_groups": "keyshare_groups",
    "req.ssl_sigalgs": "sigalgs",
    "req.ssl_sni": "sni",
    "req.ssl_supported_groups": "groups",
    "req.ssl_ver": "tls_version",
    "req_len": "length",
    "req_proto_http": "proto_http",
    "req_rdp_cookie": "rdp_cookie",
    "req_ssl_hello_type": "hello_type",
    "req_ssl_sni": "sni",
    "req_ssl_ver": "tls_version",
    "src": "client_address",
    "src_port": "client_port",
    "ssl_c_i_dn": "client_cert_issuer",
    "ssl_c_s_dn": "client_cert_subject",
    "ssl_c_used": "client_cert",
    "ssl_c_verify": "integer",
    "ssl_fc": "tls_terminated",
    "ssl_fc_alpn": "tls_agreed_alpn",
    "ssl_fc_cipher": "tls_cipher",
    "ssl_fc_is_resumed": "tls_resumed",
    "ssl_fc_protocol": "tls_agreed_version",
    "ssl_fc_sni": "sni",
    "str": "text",
    "wait_end": "wait_end",
}
"""HAProxy's name of a fact to the native one."""

CONVERTERS: Final[dict[str, str]] = {
    "bytes": "bytes",
    "field": "field",
    "hex": "hex",
    "length": "length",
    "lower": "lower",
    "not": "not",
    "upper": "upper",
    "word": "word",
}

_METHODS: Final[dict[str, str]] = {
    "string": "is",
    "integer": "integer",
    "boolean": "boolean",
    "address": "cidr",
    "binary": "",
}
_BINARY_AT_ONCE: Final = ("payload", "payload_lv")  # old keywords, for which a test compares bytes unless told

FETCHES_NOT_YET: Final = re.compile(
    r"""(?: sc[0-2]?_\w+ | src_(?!port$)\w+ | dst_(?:conn|is_local) | table_\w+ | ssl_(?:c|f|s|fc|bc)(?:_\w+)?
    | (?:be|fe|srv|bc|fc|so|prio|cpu|lat|last_rule|last_entity|acl|fcgi|internal|quic|tcp|bytes|txn)[._][\w.]+
    | (?:base|url)(?:32)?(?:\+src)?(?:_\w+)? | baseq | res\.[\w.]+ | res[p]?_\w+ | rep_ssl_hello_type
    | (?:req\.)?(?:s?hdr|fhdr|cook|scook|body|hdrs|ver)(?:_\w+)?(?:s_bin)? | req_ver | shdr\w* | http_\w+ | cookie
    | capture\.[\w.]+ | method\w* | meth | path(?:q|_\w+)? | pathq | query | urlp?(?:_\w+)? | status | unique-id | uuid
    | var | env | hostname | ipv[46] | nbproc | proc | thread | rand | queue | avg_queue | connslots | stopping | pid
    | date_us | bin | distcc_\w+ | when | when_\w+ | check | accept_date\w* | request_date | waiting_entity
    | rdp_cookie_cnt | req[._]rdp_cookie_cnt | req\.ssl_(?:ec_ext|st_ext) | server_timeout | set-var
    | cur_(?:client|server|tunnel)_timeout | cur_\w+ | random | lua\.\w+ )\Z""",
    re.VERBOSE,
)
CONVERTERS_NOT_YET: Final = word_set(
    """
    51d.single 51d.all add add_item aes_cbc_dec aes_cbc_enc aes_gcm_dec aes_gcm_enc and b64dec base64 base2 be2dec
    be2hex bool capture-req capture-res concat cpl crc32 crc32c cut_crlf da-csv-conv date debug digest div djb2 even
    fix_is_valid fix_tag_value hex2i hmac host_only htonl http_date iif in_table ipmask jwt_decrypt_cert
    jwt_decrypt_jwk jwt_decrypt_secret json json_query jwt_header_query jwt_payload_query jwt_verify language le2dec
    ltime ltrim map map_beg map_beg_int map_beg_ip map_beg_key map_dir map_dir_int map_dir_ip map_dir_key map_dom
    map_dom_int map_dom_ip map_dom_key map_end map_end_int map_end_ip map_end_key map_int map_int_int map_int_ip
    map_int_key map_ip map_ip_int map_ip_ip map_ip_key map_reg map_reg_int map_reg_ip map_reg_key map_regm map_str
    map_str_int map_str_ip map_str_key map_sub map_sub_int map_sub_ip map_sub_key mod mqtt_field_value mqtt_is_valid
    ms_ltime ms_utime mul nbsrv neg odd or param port_only protobuf regsub reverse_dom rfc7239_field
    rfc7239_is_valid rfc7239_n2nn rfc7239_n2np rtrim sdbm secure_memcmp set-var set-var-fmt sha1 sha2 srv_queue
    strcmp sub table_bytes_in_rate table_bytes_out_rate table_clr_gpc table_conn_cnt table_conn_cur table_conn_rate
    table_expire table_gpc table_gpc0 table_gpc0_rate table_gpc1 table_gpc1_rate table_gpc_rate table_gpt table_gpt0
    table_http_err_cnt table_http_err_rate table_http_fail_cnt table_http_fail_rate table_http_req_cnt
    table_http_req_rate table_idle table_inc_gpc table_kbytes_in table_kbytes_out table_server_id table_sess_cnt
    table_sess_rate table_trackers ub64dec ub64enc ungrpc unset-var url_dec url_enc us_ltime us_utime utime when wt6
    x509_v_err_str xor xxh3 xxh32 xxh64
    """
)

_CALL: Final = re.compile(r"[A-Za-z0-9_.+-]+")


def sample(word: Word, default_argument: str = "") -> Sample:
    """Read a whole word as an expression. Raises Mistake.

    `default_argument` is the proxy that facts about a backend mean when they name none.
    """
    text, at = word.text, 0
    name, arguments, at = _call(word, at, "fact")
    if name not in FETCHES:
        if FETCHES_NOT_YET.match(name):
            raise Mistake(word, f"the fact {name!r} is HAProxy's, not supported by ferryman yet", "")
        raise Mistake(word, f"unknown fact {name!r} in {text!r}", nearest(name, FETCHES))
    fact = FETCHES[name]
    if fact == "boolean":
        arguments = [_truth(word, argument) for argument in arguments]
    elif fact == "usable_servers" and not arguments:
        arguments = [default_argument]
    elif fact == "date" and arguments:
        raise Mistake(word, "arguments of 'date' are HAProxy's, not supported by ferryman yet", "")
    elif name == "ssl_c_verify":
        arguments = ["0"]  # a certificate that is not good ends the handshake
    elif name in ("ssl_c_s_dn", "ssl_c_i_dn") and len(arguments) != 1:
        message = f"{name!r} without the one attribute it is to give is HAProxy's, not supported by ferryman yet"
        raise Mistake(word, message, f"such as {name}(CN)")
    parts = [_written(fact, arguments)]
    while at < len(text):
        if text[at] != ",":
            raise Mistake(word, f"unexpected {text[at:]!r} in {text!r}", "converters follow after a comma")
        converter, arguments, at = _call(word, at + 1, "converter")
        if converter not in CONVERTERS:
            if converter in CONVERTERS_NOT_YET:
                raise Mistake(word, f"the converter {converter!r} is HAProxy's, not supported by ferryman yet", "")
            raise Mistake(word, f"unknown converter {converter!r} in {text!r}", nearest(converter, CONVERTERS))
        parts.append(_written(CONVERTERS[converter], arguments))
    try:
        parsed = native.parse("|".join(parts))
    except native.ExpressionError as error:
        raise Mistake(word, f"{text!r}: {error.message}", error.hint) from None
    method = _METHODS[parsed.type]
    if len(parts) == 1 and fact == "tls_version":
        method = "version"
    elif len(parts) == 1 and name in _BINARY_AT_ONCE:
        method = "binary"
    elif len(parts) == 1 and fact == "proxy_tlv":
        method = "is"
    return Sample(str(parsed), method, parsed.needs, str(parsed.fact.args[0]) if fact == "usable_servers" else "")


def known(word: Word) -> None:
    """Refuse an expression whose fact not even HAProxy has. Raises Mistake."""
    name, _, _ = _call(word, 0, "fact")
    if name not in FETCHES and not FETCHES_NOT_YET.match(name):
        raise Mistake(word, f"unknown fact {name!r} in {word.text!r}", nearest(name, FETCHES))


def _call(word: Word, at: int, kind: str) -> tuple[str, list[str], int]:
    """The name and arguments of the call that begins at `at`, and where it ends."""
    text = word.text
    found = _CALL.match(text, at)
    if found is None:
        raise Mistake(word, f"a {kind} is missing in {text!r}", "")
    name, at = found[0], found.end()
    if text[at : at + 1] != "(":
        return name, [], at
    arguments, at = _arguments(word, at + 1)
    return name, ([] if arguments == [""] else arguments), at


def _arguments(word: Word, at: int) -> tuple[list[str], int]:
    """Arguments up to the closing parenthesis. Quotes within a word are those that stood in quotes themselves."""
    text, arguments, value, quote = word.text, [], "", ""
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\" and quote != "'" and at < len(text):
            value += text[at]
            at += 1
        elif character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        elif not quote and character in ",)":
            arguments.append(value)
            value = ""
            if character == ")":
                return arguments, at
        else:
            value += character
    raise Mistake(word, f"a ) is missing in {text!r}", "quote arguments that have blanks in them")


def _truth(word: Word, argument: str) -> str:
    if argument.lower() in ("true", "yes", "on", "1"):
        return "1"
    if argument.lower() in ("false", "no", "off", "0"):
        return "0"
    raise Mistake(word, f"{argument!r} is neither true nor false", "")


def _written(name: str, arguments: list[str]) -> str:
    """A native call; whatever is not plain is quoted."""
    plain = re.compile(r"[+-]?[0-9]+|0x[0-9A-Fa-f]+|[A-Za-z_][A-Za-z0-9_.:-]*")
    shown = [a if plain.fullmatch(a) else '"' + re.sub(r'(["\\])', r"\\\1", a) + '"' for a in arguments]
    return f"{name}({','.join(shown)})" if shown else name
