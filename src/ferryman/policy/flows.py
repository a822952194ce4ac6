"""The connections that a migration needs, as pods and addresses.

    F1  the client's pod asks for a name (only where it has one to ask for)
    F2  the client's pod connects to the proxy; without one, to the router, the node or the pod of the other side
    F3  the router, or whoever comes by a node's port, connects to the server's pod

Nothing else is needed: not from server to client, not between the two pods directly. What lies between the proxy and
the router is outside of both clusters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Final

from ferryman.policy.egress import Addresses
from ferryman.policy.networking import Anybody, Connection, End, Host, Outside, Pod
from ferryman.policy.objects import Address, Cni, Labels, World

APP, OWNER, PURPOSE = "app", "owner", "purpose"
OWNED_BY: Final = "directvolumemigration"
SERVER_PORT: Final = 6443
ROUTER_NAMESPACE: Final = "openshift-ingress"
_SERVICE: Final = re.compile(r"[a-z0-9-]+\.([a-z0-9-]+)\.svc(?:\.|$)")
_UNSURE: Final = frozenset(
    {
        *("migplan", "migmigration", "directvolumemigration"),
        "migration.openshift.io/migrated-by-migplan",
        "migration.openshift.io/migrated-by-migmigration",
    }
)


class Plane(Enum):
    """What carries the volumes, by the label `app` of its pods."""

    FS = "directvolumemigration-rsync-transfer"
    BLOCK = "directvolumemigration-rsync-transfer-block"

    def __str__(self) -> str:
        return self.name.lower()


class Endpoint(Enum):
    """`rsync_endpoint_type` of the destination."""

    ROUTE = "Route"
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"


class Side(Enum):
    """Whose cluster's policies are asked."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Target:
    """Where something connects to: a name or an address, and a port if it is known."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    @property
    def address(self) -> Address | None:
        try:
            return ip_address(self.host)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of the migration. `targets` are the router's, nodes' or service's; `dns` is namespace and port."""

    proxy: Target | None = None
    targets: tuple[Target, ...] = ()
    endpoint: Endpoint = Endpoint.ROUTE
    planes: tuple[Plane, ...] = (Plane.FS, Plane.BLOCK)
    router_on_host: bool = False
    dns: tuple[str, int] = ("openshift-dns", 5353)
    known: Addresses = field(default_factory=dict[str, frozenset[Address]])


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection to judge, by the policies of one side; `leaves`, `enters`: which ends that cluster protects."""

    name: str
    plane: Plane
    side: Side
    namespace: str
    connection: Connection
    leaves: bool
    enters: bool

    def __str__(self) -> str:
        connection = self.connection
        port = f" {connection.protocol} {connection.port}" if connection.port else ""
        return f"{self.name} {self.plane}: {connection.source} → {connection.destination}{port}"


def client(plane: Plane, namespace: str) -> Pod:
    """The pod that sends: rsync's client and stunnel."""
    own = {"migration.openshift.io/created-for-pvc", "migration.openshift.io/rsync-attempt"}
    own |= {"pvc"} if plane is Plane.BLOCK else set()
    return Pod(namespace, Labels(_labels(plane), f"the {plane} client's pod", _UNSURE | own))


def server(plane: Plane, namespace: str) -> Pod:
    """The pod that receives: stunnel and rsync's daemon."""
    return Pod(namespace, Labels({**_labels(plane), PURPOSE: "rsync"}, f"the {plane} server's pod", _UNSURE))


def _labels(plane: Plane) -> dict[str, str]:
    return {APP: plane.value, OWNER: OWNED_BY, "app.kubernetes.io/part-of": "openshift-migration"}


def outbound(question: Question, namespace: str, to_namespace: str) -> Iterator[Flow]:
    """F1 and F2: what the source's namespace has to let out."""
    for plane in question.planes:
        pod = client(plane, namespace)
        if _asks_for_a_name(question):
            asked = Connection(pod, _resolver(question.dns[0]), "UDP", question.dns[1])
            yield Flow("F1", plane, Side.SOURCE, namespace, asked, True, True)
        for end, port in _destinations(question, plane, to_namespace):
            yield Flow("F2", plane, Side.SOURCE, namespace, Connection(pod, end, "TCP", port), True, False)


def inbound(question: Question, namespace: str, to_namespace: str, destination: World) -> Iterator[Flow]:
    """F3: what the destination's namespace has to let in."""
    for plane in question.planes:
        pod = server(plane, to_namespace)
        source: End = _router(question, destination)
        if question.endpoint is Endpoint.CLUSTER_IP:
            proxies = [end for end, _ in _ends(question.proxy, question.known)] if question.proxy else []
            source = proxies[0] if proxies else client(plane, namespace)
        elif question.endpoint is Endpoint.NODE_PORT:
            source = Anybody("a node or a client that comes by its port")
        leaves = question.endpoint is Endpoint.ROUTE and isinstance(source, Pod)
        connection = Connection(source, pod, "TCP", SERVER_PORT)
        yield Flow("F3", plane, Side.DESTINATION, to_namespace, connection, leaves, True)


def _asks_for_a_name(question: Question) -> bool:
    if question.proxy:
        return question.proxy.address is None
    if question.endpoint is Endpoint.ROUTE:
        return True  # a route has a name, and the client asks for it
    return any(target.address is None for target in question.targets)


def _destinations(question: Question, plane: Plane, to_namespace: str) -> Iterator[tuple[End, int | None]]:
    """Where the client's pod connects to; one for each address."""
    if question.proxy:
        yield from _ends(question.proxy, question.known)
    elif question.endpoint is Endpoint.CLUSTER_IP:
        yield server(plane, to_namespace), SERVER_PORT
    elif question.targets:
        for target in question.targets:
            route = 443 if question.endpoint is Endpoint.ROUTE else None
            yield from _ends(Target(target.host, target.port or route), question.known)
    else:
        what = "the router" if question.endpoint is Endpoint.ROUTE else "the node"
        yield Outside(f"{what} of the destination"), 443 if question.endpoint is Endpoint.ROUTE else None


def _ends(target: Target, known: Mapping[str, frozenset[Address]]) -> Iterator[tuple[End, int | None]]:
    name = target.host.rstrip(".").lower()
    if target.address is not None:
        yield Outside(target.host, target.address), target.port
    elif found := _SERVICE.match(name):
        labels = Labels({}, f"the pod behind {name}", complete=False)
        yield Pod(found[1], labels), None  # a service's port says nothing of its pods'
    elif name in known:
        for address in sorted(known[name], key=lambda each: (each.version, each.packed)):
            yield Outside(target.host, address), target.port
    else:
        yield Outside(target.host), target.port


def _resolver(namespace: str) -> Pod:
    known = {
        "openshift-dns": {"dns.operator.openshift.io/daemonset-dns": "default"},
        "kube-system": {"k8s-app": "kube-dns"},
    }
    ports = {
        "openshift-dns": (("dns", "UDP", 5353), ("dns-tcp", "TCP", 5353)),
        "kube-system": (("dns", "UDP", 53), ("dns-tcp", "TCP", 53)),
    }
    return Pod(namespace, Labels(known.get(namespace, {}), "the resolver's pod", complete=False), ports.get(namespace))


def _router(question: Question, destination: World) -> End:
    if not question.router_on_host:
        known = {"ingresscontroller.operator.openshift.io/deployment-ingresscontroller": "default"}
        return Pod(ROUTER_NAMESPACE, Labels(known, "the router's pod", complete=False))
    return Host(host_namespace(destination))


def host_namespace(world: World) -> Labels:
    """The namespace as part of which policies see processes on the nodes' own network."""
    if world.cni is Cni.SDN:
        return world.namespaces.get("default") or Labels(
            {"kubernetes.io/metadata.name": "default"}, "namespace default", complete=False
        )
    known = {
        "policy-group.network.openshift.io/host-network": "",
        "kubernetes.io/metadata.name": "openshift-host-network",
    }
    return world.namespaces.get("openshift-host-network") or Labels(known, "openshift-host-network", complete=False)
