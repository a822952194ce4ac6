"""The proxies that are compared: how each is found, configured and started.

ferryman and HAProxy run the very same file; the others get the equivalent in their own language. Everything a
production proxy has is on: one log line per connection to syslog over UDP, counters, every timeout. As an explicit
proxy ferryman has its native configuration, and Squid and tinyproxy are told the same. Where TLS ends in the proxy, all
are told version, cipher and curve. tinyproxy, stunnel and hitch log to files.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from bench.certificates import PROXY_AUTHORITY, SERVER, SERVER_AUTHORITY

SNI_NAME = "localhost"  # wrk sends the URL's host as SNI, and the host must resolve
HAPROXY_FORWARD = "    default_backend servers\n"
HAPROXY_BY_NAME = f"""\
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend refused if {{ req.ssl_sni -m end .example.org }}
    use_backend servers if {{ req.ssl_sni -i {SNI_NAME} }}
    default_backend refused

backend refused
    server none 127.0.0.1:1
"""
UNPRIVILEGED = "nobody"
PREWARM = {"min": 8, "max": 64, "rate": 10}
ACCESS_LOG = "access.log"  # in the job's folder, of a proxy that cannot log over UDP

TLS_VERSION = "TLSv1.3"
CIPHER = "TLS_AES_128_GCM_SHA256"  # which all TLS 1.3 has (RFC 8446 section 9.1)
CURVE = "X25519"
BOUND = {
    "terminate": f" ssl crt {{certificates}}/{SERVER} ssl-min-ver {TLS_VERSION} ciphersuites {CIPHER} curves {CURVE}",
    "proxy_in": " accept-proxy",
    "transparent": " transparent",
    "tproxy": " namespace {place.namespace}",
}
"""What a `bind` of the configuration that ferryman and HAProxy share has besides, by Kind."""

Kind = Literal[
    "forward", "by_name", "terminate", "proxy_in", "proxy_out", "transparent", "tproxy", "prewarm", "connect", "bump",
    "mint",
]  # fmt: skip
"""What a proxy does.

Forward; forward by SNI; what is within TLS; with a PROXY header from the client, or for the server; what was for the
server (TPROXY); what a hypervisor's guests send; in TLS, over connections held ready; what CONNECT
asks for, blindly; the same with TLS opened; also by SNI.
"""

FORWARDING: tuple[Kind, ...] = ("forward", "by_name", "terminate", "proxy_in")
OPENING: tuple[Kind, ...] = ("bump", "mint")
SQUID_PEEK = """\
acl hello at_step SslBump1
ssl_bump peek hello"""
"""Without it Squid asks servers for no name. With it, it has its minter make every certificate again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the proxy and its server are, and what a command has before it that is to run at the proxy or a client."""

    proxy: str = "127.0.0.1"
    server: str = "127.0.0.1"
    at_proxy: tuple[str, ...] = ()
    at_client: tuple[str, ...] = ()
    namespace: str = ""  # that the proxy listens in; "": its own
    witness: int | None = None  # a process in there


LOOPBACK = Place()


@dataclass(frozen=True, slots=True)
class Job:
    """What a proxy is asked to do: from the port `listen` to the port `target`.

    `certificates` is the folder of bench.certificates, with the authorities for `bump`.
    """

    folder: Path
    listen: int
    target: int
    log: int
    workers: int
    connections: int
    kind: Kind
    certificates: Path
    place: Place = LOOPBACK

    @property
    def door(self) -> str:
        """Address and port that clients connect to."""
        if self.kind == "transparent":
            return f"{self.place.server}:{self.target}"
        return f"{self.place.proxy}:{self.listen}"

    @property
    def explicit(self) -> bool:
        """Whether clients name the target themselves."""
        return self.kind in ("connect", *OPENING)


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy under test. `version` is empty when it is not installed; `command` writes its configuration.

    For `kinds` it can do what is asked; beside others it stands as a plain forwarder.
    """

    name: str
    version: str
    command: Callable[[Job], list[str]]
    kinds: tuple[Kind, ...]


def haproxy_config(job: Job) -> str:
    """The configuration that ferryman and HAProxy share."""
    return f"""\
global
    maxconn {job.connections}
    nbthread {job.workers}
    log 127.0.0.1:{job.log} local0
    stats socket {job.folder}/stats.sock mode 600 level admin

defaults
    mode tcp
    log global
    option tcplog
    maxconn {job.connections}
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    timeout tunnel 1h
    timeout client-fin 10s
    timeout server-fin 10s
    timeout queue 10s
    timeout check 5s

backend servers
    balance roundrobin
    server one {job.place.server}:{job.target}{" send-proxy-v2" if job.kind == "proxy_out" else ""}

frontend crossing
    bind {job.place.proxy}:{job.listen}{BOUND.get(job.kind, "").format(certificates=job.certificates, place=job.place)}
{HAPROXY_BY_NAME if job.kind == "by_name" else HAPROXY_FORWARD}"""


def nginx_stream_config(job: Job) -> str:
    """The same crossing as an nginx stream server."""
    if job.kind == "by_name":
        names = f"map $ssl_preread_server_name $way {{ {SNI_NAME} servers; *.example.org none; default none; }}"
        forward = f"{names}\n    upstream none {{ server 127.0.0.1:1; }}"
        directives = "ssl_preread on; proxy_pass $way;"
    else:
        forward, directives = "", "proxy_pass servers;"
    bound = {"terminate": " ssl", "proxy_in": " proxy_protocol"}.get(job.kind, "")
    if job.kind == "terminate":
        directives += f"""
        ssl_certificate {job.certificates / SERVER};
        ssl_certificate_key {job.certificates / SERVER};
        ssl_protocols {TLS_VERSION};
        ssl_conf_command Ciphersuites {CIPHER};
        ssl_ecdh_curve {CURVE};"""
    return f"""\
load_module {nginx_modules()}/ngx_stream_module.so;
{nginx_preamble(job.folder, job.workers, job.connections)}
stream {{
    log_format line '$remote_addr:$remote_port [$time_local] $upstream_addr $upstream_connect_time/$session_time '
                    '$bytes_sent/$bytes_received $status';
    access_log syslog:server=127.0.0.1:{job.log} line;
    upstream servers {{ server 127.0.0.1:{job.target}; }}
    {forward}
    server {{
        listen 127.0.0.1:{job.listen}{bound};
        proxy_connect_timeout 5s;
        proxy_timeout 1m;
        preread_timeout 5s;
        {directives}
    }}
}}
"""


def stunnel_config(job: Job) -> str:
    """stunnel with the lines of its log that tell of a connection. It has a thread for each."""
    return f"""\
foreground = yes
pid =
syslog = no
output = {job.folder / ACCESS_LOG}
debug = notice

[crossing]
accept = 127.0.0.1:{job.listen}
connect = 127.0.0.1:{job.target}
cert = {job.certificates / SERVER}
sslVersionMin = {TLS_VERSION}
ciphersuites = {CIPHER}
curves = {CURVE}
TIMEOUTidle = 3600
TIMEOUTconnect = 5
"""


def hitch_config(job: Job) -> str:
    """hitch, whose log tells of a connection in a dozen lines or not at all: not at all."""
    user = f'user = "{UNPRIVILEGED}"' if os.geteuid() == 0 else ""  # it refuses to stay root
    return f"""\
{user}
frontend = "[127.0.0.1]:{job.listen}"
backend = "[127.0.0.1]:{job.target}"
pem-file = "{job.certificates / SERVER}"
workers = {job.workers}
tls-protos = {TLS_VERSION}
ciphersuites = "{CIPHER}"
ecdh-curve = "{CURVE}"
ocsp-dir = ""
log-filename = "{job.folder / ACCESS_LOG}"
log-level = 1
"""


def native_config(job: Job, prewarm: bool = True) -> str:
    """ferryman as an explicit proxy, or with connections held ready (without them if not `prewarm`); JSON is YAML."""
    listener: dict[str, object] = {"bind": f"127.0.0.1:{job.listen}", "client_timeout": "1m"}
    document: dict[str, object] = {
        "global": {
            "workers": job.workers,
            "max_connections": job.connections,
            "log": {"target": f"udp:127.0.0.1:{job.log}", "format": "rfc3164"},
        },
        "listeners": {"crossing": listener},
    }
    if job.kind == "prewarm":
        listener["to"] = "servers"
        ca = str(job.certificates / SERVER_AUTHORITY)
        tls = {"ca": ca, "server_name": SNI_NAME, "alpn": ["http/1.1"], "resume": False}
        servers = {"servers": f"127.0.0.1:{job.target}", "tls": tls, "server_timeout": "1m", "tunnel_timeout": "1h"}
        document["backends"] = {"servers": servers | ({"prewarm": PREWARM} if prewarm else {})}
        return json.dumps(document)
    connect: dict[str, object] = {"egress_allow": ["127.0.0.1"], "server_timeout": "1m", "tunnel_timeout": "1h"}
    if job.kind in OPENING:
        connect["tls"] = [{"action": "bump"}]
        connect["bump"] = {
            "ca": str(job.certificates / PROXY_AUTHORITY),
            "server_ca": str(job.certificates / SERVER_AUTHORITY),
        }
    listener["connect"] = connect
    return json.dumps(document)


def squid_config(job: Job) -> str:
    """Squid without a cache, and with a connection to the server for every client, as the others have."""
    port, bump = f"http_port 127.0.0.1:{job.listen}", ""
    if job.kind in OPENING:
        port += (
            f" ssl-bump tls-cert={job.certificates / PROXY_AUTHORITY} generate-host-certificates=on"
            " dynamic_cert_mem_cache_size=4MB"
        )
        bump = f"""sslcrtd_program {squid_minter()} -s {job.folder}/minted -M 16MB
sslcrtd_children 1 startup=1 idle=1
tls_outgoing_options cafile={job.certificates / SERVER_AUTHORITY}
{SQUID_PEEK if job.kind == "mint" else ""}
ssl_bump bump all
"""
    return f"""{port}
{bump}http_access allow all
access_log udp://127.0.0.1:{job.log} squid
cache_log stdio:{job.folder}/cache.log
pid_filename {job.folder}/squid.pid
cache_effective_user {UNPRIVILEGED}
server_persistent_connections off
cache deny all
cache_mem 0
cache_store_log none
netdb_filename none
coredump_dir none
pinger_enable off
max_filedescriptors {job.connections * 2 + 100}
shutdown_lifetime 0 seconds
"""


def tinyproxy_config(job: Job) -> str:
    """tinyproxy with the lines of its log that tell of a connection."""
    return f"""Listen 127.0.0.1
Port {job.listen}
Timeout 3600
MaxClients {job.connections}
LogFile "{job.folder / ACCESS_LOG}"
LogLevel Connect
PidFile "{job.folder}/tinyproxy.pid"
"""


def nginx_preamble(folder: Path, workers: int, connections: int) -> str:
    """The head of an nginx configuration that keeps everything in `folder`."""
    user = "user root;" if os.geteuid() == 0 else ""  # else the workers could not write into our folder
    return f"""\
{user}
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections {connections * 2 + 100}; }}"""


def nginx_modules() -> str:
    """The folder of nginx's loadable modules, from its build options."""
    options = subprocess.run([found("nginx"), "-V"], capture_output=True, text=True, check=True, timeout=10).stderr
    match = re.search(r"--modules-path=(\S+)", options)
    return match.group(1) if match else "modules"


def squid_minter() -> str:
    """The program that makes Squid's certificates, from its build options."""
    options = subprocess.run([found("squid"), "-v"], capture_output=True, text=True, check=True, timeout=10).stdout
    match = re.search(r"--libexecdir=([^'\s]+)", options)
    return f"{match.group(1) if match else '/usr/lib/squid'}/security_file_certgen"


def found(program: str) -> str:
    """The program's path (sbin included: Debian keeps proxies there), or "" when it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin") or ""


def _version(command: list[str], begin: str = "") -> str:
    """The first line that begins like this; "": it is not installed, or does not run."""
    if not command[0] or not Path(command[0]).exists():
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    lines = (done.stdout + done.stderr).strip().splitlines() if done.returncode == 0 else []
    return next((line for line in lines if line.startswith(begin)), "")


def _nginx_version() -> str:
    nginx = found("nginx")
    return _version([nginx, "-v"]) if nginx and Path(nginx_modules(), "ngx_stream_module.so").exists() else ""


def _squid_version() -> str:
    return _version([found("squid"), "-v"]) if found("squid") and Path(squid_minter()).exists() else ""


def _write(job: Job, name: str, text: str) -> str:
    path = job.folder / name
    path.write_text(text)
    return str(path)


def _haproxy(job: Job) -> list[str]:
    return [found("haproxy"), "-db", "-f", _write(job, "haproxy.cfg", haproxy_config(job))]


def _ferryman(job: Job) -> list[str]:
    if job.explicit or job.kind == "prewarm":
        return _run(job, "ferryman.yaml", native_config(job))
    return _run(job, "haproxy.cfg", haproxy_config(job))


def _ferryman_cold(job: Job) -> list[str]:
    return _run(job, "ferryman.yaml", native_config(job, prewarm=False))


def _run(job: Job, name: str, config: str) -> list[str]:
    control = f"{job.folder}/control.sock"  # one that is at work on this machine has the usual one
    return [FERRYMAN, "run", "--control", control, _write(job, name, config)]


def _nginx(job: Job) -> list[str]:
    return [found("nginx"), "-p", str(job.folder), "-c", _write(job, "nginx.conf", nginx_stream_config(job))]


def _squid(job: Job) -> list[str]:
    command = [found("squid"), "-N", "-n", f"bench{job.listen}", "-f", _write(job, "squid.conf", squid_config(job))]
    if job.kind in OPENING:
        minted = [squid_minter(), "-c", "-s", f"{job.folder}/minted", "-M", "16MB"]
        subprocess.run(minted, check=True, capture_output=True, timeout=20)
    if os.geteuid() == 0:  # which it refuses to stay
        job.folder.parent.chmod(0o755)
        for path in (job.folder, *job.folder.rglob("*")):
            shutil.chown(path, UNPRIVILEGED)
    return command


def _stunnel(job: Job) -> list[str]:
    return [found("stunnel4"), _write(job, "stunnel.conf", stunnel_config(job))]


def _hitch(job: Job) -> list[str]:
    return [found("hitch"), f"--config={_write(job, 'hitch.conf', hitch_config(job))}"]


def _tinyproxy(job: Job) -> list[str]:
    return [found("tinyproxy"), "-d", "-c", _write(job, "tinyproxy.conf", tinyproxy_config(job))]


FERRYMAN = str(Path(sys.executable).with_name("ferryman"))


@cache
def installed() -> dict[str, Peer]:
    """The proxies this machine has, by name, in the order they are run."""
    ferryman = _version([FERRYMAN, "--version"])
    peers = (
        Peer("ferryman", ferryman, _ferryman, get_args(Kind)),
        Peer("ferryman-tcp", ferryman, _ferryman, ("forward",)),
        Peer("ferryman-cold", ferryman, _ferryman_cold, ("prewarm",)),
        Peer("haproxy", _version([found("haproxy"), "-v"]), _haproxy, (*FORWARDING, "proxy_out", "transparent")),
        Peer("nginx", _nginx_version(), _nginx, FORWARDING),
        Peer("stunnel", _version([found("stunnel4"), "-version"], "stunnel"), _stunnel, ("terminate",)),
        Peer("hitch", _version([found("hitch"), "--version"]), _hitch, ("terminate",)),
        Peer("squid", _squid_version(), _squid, ("connect", *OPENING)),
        Peer("tinyproxy", _version([found("tinyproxy"), "-v"]), _tinyproxy, ("connect",)),
    )
    return {peer.name: peer for peer in peers if peer.version}
