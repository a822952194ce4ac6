"""What Direct Volume Migration calls things, and the configuration files of its two ends: text, for manifests.

The files are stunnel's and rsync's own, so that either ferryman or the originals can run them. Pure: reads and writes
nothing. Names, labels and ports are those of the migration controller; differences: both ends know the other's
certificate and nobody else's, TLS 1.3, and the client listens on its own loopback only.

Source: mig-controller, crane-lib and pvc-transfer; stunnel(8), rsyncd.conf(5).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

from ferryman.config.proxy_url import ProxyUrl

Endpoint = Literal["route", "nodeport", "clusterip"]

APP: Final = "directvolumemigration-rsync-transfer"
LABELS: Final = {"app": APP, "owner": "directvolumemigration", "app.kubernetes.io/part-of": "openshift-migration"}
SERVER_LABELS: Final = {**LABELS, "purpose": "rsync"}
ROUTE: Final = "dvm"
SERVICE: Final = f"{APP}-svc"
PORT: Final = 6443
RSYNC_PORT: Final = 2222
CERTIFICATES: Final = "/etc/stunnel-certificates"
"""Beside /etc/stunnel, which is read-only where it is a Secret: nothing can be mounted within."""
_LONGEST: Final = 62
"""Of the first label of a route's host."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A claim in the source namespace and the one in the destination that takes its content; both exist already."""

    source: str
    destination: str

    @property
    def module(self) -> str:
        """Of rsync; by the name in the source."""
        return digest(self.source)


@dataclass(frozen=True, slots=True)
class Migration:
    """From one namespace to another. `host` and `port`: where the client end connects; `via`: a proxy before that."""

    source: str
    destination: str
    volumes: tuple[Volume, ...]
    host: str
    port: int
    endpoint: Endpoint = "route"
    via: ProxyUrl | None = field(default=None, repr=False)


def digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def route_host(namespace: str, subdomain: str) -> str:
    """Where a route for a namespace is. The controller takes a digest where the name would be too long."""
    label = f"{ROUTE}-{namespace}"
    return f"{label if len(label) <= _LONGEST else f'{ROUTE}-{digest(namespace)}'[:_LONGEST]}.{subdomain}"


def client_stunnel(migration: Migration) -> str:
    """stunnel.conf of the source end. With a proxy it has the password: it belongs in a Secret."""
    goal = f"{migration.host}:{migration.port}"
    proxy = migration.via
    lines = [
        "client = yes",
        f"accept = 127.0.0.1:{PORT}",
        f"connect = {goal if proxy is None else f'{proxy.address.host}:{proxy.address.port}'}",
        f"sni = {migration.host}",
    ]
    if proxy is not None:
        lines += ["protocol = connect", f"protocolHost = {goal}"]
        if proxy.user:
            lines += [f"protocolUsername = {proxy.user}", f"protocolPassword = {proxy.password}"]
    return _stunnel(lines)


def server_stunnel() -> str:
    """stunnel.conf of the destination end."""
    return _stunnel([f"accept = {PORT}", f"connect = 127.0.0.1:{RSYNC_PORT}", "TIMEOUTclose = 0"])


def _stunnel(lines: list[str]) -> str:
    before = ["foreground = yes", "pid =", "socket = l:TCP_NODELAY=1", "socket = r:TCP_NODELAY=1", "", "[rsync]"]
    trust = [
        f"cert = {CERTIFICATES}/tls.crt",
        f"key = {CERTIFICATES}/tls.key",
        f"CAfile = {CERTIFICATES}/ca.crt",
        "verifyPeer = yes",
        "sslVersionMin = TLSv1.3",
    ]
    return "\n".join([*before, *lines, *trust]) + "\n"


def rsyncd(migration: Migration) -> str:
    """rsyncd.conf of the destination end: a module for each volume."""
    lines = [
        f"port = {RSYNC_PORT}",
        "address = 127.0.0.1",
        "uid = root",
        "gid = root",
        "use chroot = no",
        "munge symlinks = no",
        "numeric ids = yes",
        "reverse lookup = no",
        "auth users = root",
        "secrets file = /etc/rsyncd-secret/rsyncd.secrets",
        "strict modes = no",  # a Secret's files belong to whom Kubernetes wants
        "hosts allow = 127.0.0.1",
        "read only = no",
        "list = no",
    ]
    for volume in migration.volumes:
        lines += [f"[{volume.module}]", f"    path = {folder(migration.destination, volume)}"]
    return "\n".join(lines) + "\n"


def folder(namespace: str, volume: Volume) -> str:
    """Where a volume is in the pods of a namespace."""
    return f"/mnt/{namespace}/{volume.module}"


def client_script(migration: Migration, volume: Volume, attempts: int) -> str:
    """What the client's pod runs: rsync until it has succeeded, and a word to the other container when it is over."""
    flags = (
        "--archive --hard-links --delete --partial --numeric-ids --timeout=120 --human-readable --exclude=lost+found "
        "--info=COPY2,DEL2,REMOVE2,SKIP2,FLIST2,PROGRESS2,STATS2 --log-file=/dev/stdout"
    )
    here = folder(migration.source, volume)
    return "\n".join(
        [
            "trap 'touch /run/dvm/done' EXIT",
            "n=1",
            f"until rsync {flags} {here}/ rsync://root@127.0.0.1:{PORT}/{volume.module}; do",
            "  code=$?",
            f'  [ "$n" -ge {attempts} ] && exit "$code"',
            '  echo "attempt $n ended with $code"',
            "  sleep $((n < 6 ? 1 << n : 60))",
            "  n=$((n + 1))",
            "done",
            "",
        ]
    )
