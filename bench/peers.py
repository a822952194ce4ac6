"""The proxies that are compared: how each is found, configured and started.

ferryman and HAProxy run the very same file; nginx gets the equivalent in its own language. Everything a production
proxy has is on: one log line per connection to syslog over UDP, counters, every timeout.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Job:
    """What a proxy is asked to do: from the port `listen` to the port `target`, on loopback."""

    folder: Path
    listen: int
    target: int
    log: int
    workers: int
    connections: int
    by_name: bool


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy under test. `version` is empty when it is not installed; `command` writes its configuration."""

    name: str
    version: str
    command: Callable[[Job], list[str]]


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
    server one 127.0.0.1:{job.target}

frontend crossing
    bind 127.0.0.1:{job.listen}
{HAPROXY_BY_NAME if job.by_name else HAPROXY_FORWARD}"""


def nginx_stream_config(job: Job) -> str:
    """The same crossing as an nginx stream server."""
    if job.by_name:
        names = f"map $ssl_preread_server_name $way {{ {SNI_NAME} servers; *.example.org none; default none; }}"
        forward = f"{names}\n    upstream none {{ server 127.0.0.1:1; }}"
        directives = "ssl_preread on; proxy_pass $way;"
    else:
        forward, directives = "", "proxy_pass servers;"
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
        listen 127.0.0.1:{job.listen};
        proxy_connect_timeout 5s;
        proxy_timeout 1m;
        preread_timeout 5s;
        {directives}
    }}
}}
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


def found(program: str) -> str:
    """The program's path (sbin included: Debian keeps proxies there), or "" when it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin") or ""


def _version(command: list[str]) -> str:
    if not command[0] or not Path(command[0]).exists():
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return (done.stdout + done.stderr).strip().partition("\n")[0] if done.returncode == 0 else ""


def _nginx_version() -> str:
    nginx = found("nginx")
    return _version([nginx, "-v"]) if nginx and Path(nginx_modules(), "ngx_stream_module.so").exists() else ""


def _write(job: Job, name: str, text: str) -> str:
    path = job.folder / name
    path.write_text(text)
    return str(path)


def _haproxy(job: Job) -> list[str]:
    return [found("haproxy"), "-db", "-f", _write(job, "haproxy.cfg", haproxy_config(job))]


def _ferryman(job: Job) -> list[str]:
    return [FERRYMAN, "run", _write(job, "haproxy.cfg", haproxy_config(job))]


def _nginx(job: Job) -> list[str]:
    return [found("nginx"), "-p", str(job.folder), "-c", _write(job, "nginx.conf", nginx_stream_config(job))]


FERRYMAN = str(Path(sys.executable).with_name("ferryman"))
REFERENCE = "haproxy"


def installed() -> dict[str, Peer]:
    """The proxies this machine has, by name, in the order they are run."""
    peers = (
        Peer("ferryman", _version([FERRYMAN, "--version"]), _ferryman),
        Peer(REFERENCE, _version([found("haproxy"), "-v"]), _haproxy),
        Peer("nginx", _nginx_version(), _nginx),
    )
    return {peer.name: peer for peer in peers if peer.version}
