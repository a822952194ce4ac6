"""What a migration between two clusters needs in each of them, as Kubernetes objects with the migration's labels.

Pods, Services, a Route, Secrets, ConfigMaps and NetworkPolicies, plain data ready for YAML. Called by
cli.migrate_manifests; applies nothing and asks no cluster. Each end gets a certificate made for this migration and
trusts the other's alone; private keys and passwords are in Secrets, where the migration controller has a ConfigMap. The
policies select the migration's pods only, so that no other pod becomes isolated.

Source: mig-controller and crane-lib (names and labels); the Kubernetes and OpenShift API references.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ferryman.migrate import certificates, dvm
from ferryman.migrate.certificates import Identity
from ferryman.migrate.dvm import Migration, Volume

Object = dict[str, Any]

_PREFIX: Final = "fs-crane2-stunnel"
_ROUTER: Final = "policy-group.network.openshift.io/ingress"
_DNS: Final = "openshift-dns"
_DNS_PORT: Final = 5353
"""Of the pods: policies see a connection after it was sent there."""


@dataclass(frozen=True, slots=True)
class Images:
    """Where the programs come from: ferryman in the part of stunnel, and rsync."""

    ferryman: str = "localhost/ferryman:latest"
    rsync: str = "quay.io/konveyor/rsync-transfer:latest"


def render(migration: Migration, images: Images, attempts: int = 20) -> dict[str, list[Object]]:
    """The objects of the two clusters, "source" and "destination", in the order to apply them. Fresh keys each time."""
    client, server = certificates.make("client"), certificates.make("server")
    password = secrets.token_urlsafe(24)
    return {
        "source": [
            *_client_secrets(migration, client, server, password),
            _egress(migration),
            *(_client_pod(migration, volume, images, attempts) for volume in migration.volumes),
        ],
        "destination": [
            *_server_secrets(migration, server, client, password),
            _ingress(migration),
            _service(migration),
            *([_route(migration)] if migration.endpoint == "route" else []),
            _server_pod(migration, images),
        ],
    }


def _client_secrets(migration: Migration, own: Identity, other: Identity, password: str) -> list[Object]:
    place = migration.source
    return [
        _certificates(f"{_PREFIX}-client-secret", place, own, other),
        _secret(f"{_PREFIX}-client-config", place, {"stunnel.conf": dvm.client_stunnel(migration)}),
        _secret("crane2-rsync-client-secret", place, {"RSYNC_PASSWORD": password}),
    ]


def _server_secrets(migration: Migration, own: Identity, other: Identity, password: str) -> list[Object]:
    place = migration.destination
    return [
        _certificates(f"{_PREFIX}-server-secret", place, own, other),
        _config(f"{_PREFIX}-server-config", place, {"stunnel.conf": dvm.server_stunnel()}),
        _secret("crane2-rsync-server-secret", place, {"rsyncd.secrets": f"root:{password}\n"}),
        _config("crane2-rsync-server-config", place, {"rsyncd.conf": dvm.rsyncd(migration)}),
    ]


def _certificates(name: str, namespace: str, own: Identity, other: Identity) -> Object:
    data = {"tls.crt": own.certificate, "tls.key": own.key, "ca.crt": other.certificate}
    return {**_secret(name, namespace, data), "type": "kubernetes.io/tls"}


def _secret(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    return {**_object("v1", "Secret", name, namespace), "stringData": dict(data)}


def _config(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    return {**_object("v1", "ConfigMap", name, namespace), "data": dict(data)}


def _service(migration: Migration) -> Object:
    name = dvm.ROUTE if migration.endpoint == "route" else dvm.SERVICE
    port: Object = {"name": dvm.ROUTE, "port": dvm.PORT, "targetPort": dvm.PORT, "protocol": "TCP"}
    kind = "ClusterIP"
    if migration.endpoint == "nodeport":
        kind, port = "NodePort", {**port, "nodePort": migration.port}
    spec: Object = {"type": kind, "selector": dict(dvm.SERVER_LABELS), "ports": [port]}
    if migration.endpoint == "clusterip":
        spec["clusterIP"] = migration.host
    return {**_object("v1", "Service", name, migration.destination), "spec": spec}


def _route(migration: Migration) -> Object:
    spec = {
        "host": migration.host,
        "to": {"kind": "Service", "name": dvm.ROUTE, "weight": 100},
        "port": {"targetPort": dvm.PORT},
        "tls": {"termination": "passthrough", "insecureEdgeTerminationPolicy": "None"},
    }
    return {**_object("route.openshift.io/v1", "Route", dvm.ROUTE, migration.destination), "spec": spec}


def _egress(migration: Migration) -> Object:
    """From the clients to the one place they connect to, and to the name service if that place is a name."""
    host = migration.via.address.host if migration.via is not None else migration.host
    port = migration.via.address.port if migration.via is not None else migration.port
    rule: Object = {"ports": [{"protocol": "TCP", "port": port}]}
    rules = [rule]
    try:
        address = ipaddress.ip_address(host)
        rule["to"] = [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]
    except ValueError:
        names = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": _DNS}}}]
        ports = [{"protocol": protocol, "port": _DNS_PORT} for protocol in ("UDP", "TCP")]
        rules.append({"to": names, "ports": ports})
    spec = {"podSelector": {"matchLabels": dict(dvm.LABELS)}, "policyTypes": ["Egress"], "egress": rules}
    return {**_policy("allow-egress-from-rsync-clients", migration.source), "spec": spec}


def _ingress(migration: Migration) -> Object:
    """To the server from the router; where there is none, from whoever can reach the port."""
    rule: Object = {"ports": [{"protocol": "TCP", "port": dvm.PORT}]}
    if migration.endpoint == "route":
        rule["from"] = [{"namespaceSelector": {"matchLabels": {_ROUTER: ""}}}]
    spec = {"podSelector": {"matchLabels": dict(dvm.SERVER_LABELS)}, "policyTypes": ["Ingress"], "ingress": [rule]}
    return {**_policy("allow-ingress-to-rsync-server", migration.destination), "spec": spec}


def _policy(name: str, namespace: str) -> Object:
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, namespace)


def _server_pod(migration: Migration, images: Images) -> Object:
    rsync = {
        "name": "rsync",
        "image": images.rsync,
        "command": ["rsync", "--daemon", "--no-detach", "--config=/etc/rsyncd/rsyncd.conf", "--log-file=/dev/stdout"],
        "volumeMounts": [
            {"name": "rsyncd", "mountPath": "/etc/rsyncd"},
            {"name": "rsyncd-secret", "mountPath": "/etc/rsyncd-secret"},
            *(
                {"name": volume.module, "mountPath": dvm.folder(migration.destination, volume)}
                for volume in migration.volumes
            ),
        ],
    }
    stunnel = _stunnel(images, ["ferryman", "run", "/etc/stunnel/stunnel.conf"])
    stunnel["ports"] = [{"name": dvm.ROUTE, "containerPort": dvm.PORT, "protocol": "TCP"}]
    volumes = [
        {"name": "stunnel", "configMap": {"name": f"{_PREFIX}-server-config"}},
        _of_secret("certificates", f"{_PREFIX}-server-secret"),
        {"name": "rsyncd", "configMap": {"name": "crane2-rsync-server-config"}},
        _of_secret("rsyncd-secret", "crane2-rsync-server-secret"),
        *(_claim(volume.module, volume.destination) for volume in migration.volumes),
    ]
    spec = {"restartPolicy": "Always", "containers": [rsync, stunnel], "volumes": volumes}
    return {**_object("v1", "Pod", "rsync-server", migration.destination, {"purpose": "rsync"}), "spec": spec}


def _client_pod(migration: Migration, volume: Volume, images: Images, attempts: int) -> Object:
    """Both containers end when rsync has: the one tells the other by a file."""
    over = {"name": "over", "mountPath": "/run/dvm"}
    rsync = {
        "name": "rsync",
        "image": images.rsync,
        "command": ["sh", "-c", dvm.client_script(migration, volume, attempts)],
        "envFrom": [{"secretRef": {"name": "crane2-rsync-client-secret"}}],
        "volumeMounts": [{"name": "volume", "mountPath": dvm.folder(migration.source, volume)}, over],
    }
    script = (
        "ferryman run /etc/stunnel/stunnel.conf & pid=$!\n"
        'until [ -e /run/dvm/done ] || ! kill -0 "$pid"; do sleep 1; done\n'
        'kill "$pid" || exit 1\nwait "$pid"\n'
    )
    stunnel = _stunnel(images, ["sh", "-c", script])
    stunnel["volumeMounts"].append(over)
    volumes = [
        _of_secret("stunnel", f"{_PREFIX}-client-config"),
        _of_secret("certificates", f"{_PREFIX}-client-secret"),
        {"name": "over", "emptyDir": {}},
        _claim("volume", volume.source),
    ]
    labels = {
        "migration.openshift.io/created-for-pvc": volume.module,
        "migration.openshift.io/rsync-attempt": "1",
    }
    spec = {"restartPolicy": "Never", "containers": [rsync, stunnel], "volumes": volumes}
    return {**_object("v1", "Pod", f"rsync-{volume.module[:10]}", migration.source, labels), "spec": spec}


def _stunnel(images: Images, command: list[str]) -> Object:
    mounts = [
        {"name": "stunnel", "mountPath": "/etc/stunnel"},
        {"name": "certificates", "mountPath": dvm.CERTIFICATES},
    ]
    return {"name": "stunnel", "image": images.ferryman, "command": command, "volumeMounts": mounts}


def _of_secret(volume: str, name: str) -> Object:
    return {"name": volume, "secret": {"secretName": name}}


def _claim(volume: str, name: str) -> Object:
    return {"name": volume, "persistentVolumeClaim": {"claimName": name}}


def _object(version: str, kind: str, name: str, namespace: str, labels: Mapping[str, str] | None = None) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": {**dvm.LABELS, **(labels or {})}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
