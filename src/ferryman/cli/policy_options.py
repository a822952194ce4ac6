"""What the verbs of `ferryman policy` have in common: where manifests come from, and which migration is meant.

`case_options` puts a `Case` into a verb. Imports capabilities only when a verb runs.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from ferryman.cli.verb import FAILED

if TYPE_CHECKING:
    from ferryman.kubernetes.manifests import Reading
    from ferryman.policy.flows import Question, Side
    from ferryman.policy.objects import World
    from ferryman.policy.ruling import Ruling

_RESOURCES: Final = (  # name, namespaced, needed
    ("namespaces", False, False),
    ("networkpolicies.networking.k8s.io", True, True),
    ("egressnetworkpolicies.network.openshift.io", True, True),
    ("egressfirewalls.k8s.ovn.org", True, True),
    ("adminnetworkpolicies.policy.networking.k8s.io", False, False),
    ("baselineadminnetworkpolicies.policy.networking.k8s.io", False, False),
    ("networks.config.openshift.io", False, False),
    ("nodes", False, False),
)


class _Target(click.ParamType[tuple[str, int | None]]):
    """HOST, HOST:PORT, [IPV6]:PORT, or a URL, of which only host and port count."""

    name = "target"

    def convert(
        self, value: str | tuple[str, int | None], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | None]:
        if isinstance(value, tuple):
            return value
        try:
            ip_address(value)
        except ValueError:
            pass
        else:
            return value, None
        try:
            parts = urlsplit(value if "://" in value else f"//{value}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or port == 0 or ("://" not in value and (parts.path or "@" in value)):
            # what was given may hold a password
            self.fail("this is not of the form HOST:PORT, such as 192.0.2.7:3128", param, ctx)
        return host, port


class _Resolved(click.ParamType[tuple[str, IPv4Address | IPv6Address]]):
    """NAME=ADDRESS as a pair."""

    name = "resolved"

    def convert(
        self,
        value: str | tuple[str, IPv4Address | IPv6Address],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, IPv4Address | IPv6Address]:
        if isinstance(value, tuple):
            return value
        name, _, address = value.partition("=")
        try:
            return name.rstrip(".").lower(), ip_address(address if name else "")
        except ValueError:
            return self.fail(f"{value!r} is not of the form NAME=ADDRESS", param, ctx)


class _Resolver(click.ParamType[tuple[str, int]]):
    """NAMESPACE:PORT as a pair."""

    name = "resolver"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        name, _, port = value.partition(":")
        if not (name and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            self.fail(f"{value!r} is not of the form NAMESPACE:PORT, such as kube-system:53", param, ctx)
        return name, int(port)


@dataclass(frozen=True, slots=True)
class Case:
    """Manifests, and the migration that they are asked about."""

    source: Reading
    destination: Reading
    """The same as `source` where both clusters' manifests are one heap."""
    question: Question
    namespaces: tuple[str, ...]
    to_namespace: str
    cni: str

    @property
    def readings(self) -> tuple[Reading, ...]:
        return (self.source,) if self.source is self.destination else (self.source, self.destination)

    def worlds(self) -> dict[Side, World]:
        """The clusters that the manifests make; what is wrong with them is reported to the readings."""
        from ferryman.policy.flows import Side
        from ferryman.policy.objects import Cni
        from ferryman.policy.reading import build

        cni = Cni(self.cni) if self.cni else None
        default = self.namespaces[0] if self.namespaces else "default"
        source = build(self.source, default, cni)
        if self.destination is self.source:
            return {Side.SOURCE: source, Side.DESTINATION: source}
        return {Side.SOURCE: source, Side.DESTINATION: build(self.destination, self.to_namespace or default, cni)}

    def rulings(self, worlds: dict[Side, World]) -> list[Ruling]:
        """Every flow of every namespace that is asked about."""
        from ferryman.policy.survey import namespaces, survey

        pairs = [(name, self.to_namespace or name) for name in namespaces(worlds, self.namespaces)]
        return list(survey(worlds, self.question, pairs))


_OPTIONS: Final = (
    click.argument("paths", metavar="[FILE|DIR|-]...", nargs=-1, type=click.Path(allow_dash=True)),
    click.option("--cluster", "live", is_flag=True, help="Ask the source's cluster, through kubectl."),
    click.option("--context", metavar="NAME", default="", help="kubectl's context of it; implies --cluster."),
    click.option("--kubeconfig", metavar="FILE", default="", help="kubectl's configuration, for both contexts."),
    click.option(
        "--destination",
        metavar="FILE|DIR|-",
        multiple=True,
        type=click.Path(allow_dash=True),
        help="Manifests of the destination's cluster. Without: the same as the source's.",
    ),
    click.option("--to-context", metavar="NAME", default="", help="kubectl's context of the destination's cluster."),
    click.option(
        "-n", "--namespace", "namespaces", metavar="NAME", multiple=True, help="Source namespace; all by default."
    ),
    click.option("--to-namespace", metavar="NAME", default="", help="Destination namespace, if it has another name."),
    click.option(
        "--proxy",
        metavar="HOST:PORT",
        type=_Target(),
        help="The proxy of stunnel_tcp_proxy. A URL will do: only its host and port are looked at.",
    ),
    click.option(
        "--to",
        "targets",
        metavar="HOST[:PORT]",
        multiple=True,
        type=_Target(),
        help="What the client connects to where there is no proxy: the route, the router's addresses, a node.",
    ),
    click.option(
        "--endpoint",
        type=click.Choice(["Route", "ClusterIP", "NodePort"], case_sensitive=False),
        default="Route",
        show_default=True,
        help="rsync_endpoint_type of the destination.",
    ),
    click.option(
        "--plane", type=click.Choice(["fs", "block", "both"]), default="both", show_default=True, help="Which pods."
    ),
    click.option(
        "--cni",
        type=click.Choice(["openshift-sdn", "ovn-kubernetes", "other"]),
        default=None,
        help="The network plugin. Without: what the cluster says, or each kind of object by its own rules.",
    ),
    click.option(
        "--resolve",
        "resolved",
        metavar="NAME=ADDRESS",
        multiple=True,
        type=_Resolved(),
        help="What a name means; nothing is looked up. May be given more than once.",
    ),
    click.option("--router-host-network", is_flag=True, help="The router's pods are on the nodes' own network."),
    click.option(
        "--resolver",
        metavar="NAMESPACE:PORT",
        type=_Resolver(),
        default="openshift-dns:5353",
        show_default=True,
        help="Where pods ask for names, as policies see it.",
    ),
)


def case_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what says which manifests and which migration; the verb gets a `Case` as its argument `case`."""

    @functools.wraps(function)
    def with_case(*args: Any, **options: Any) -> None:
        own = {key: options.pop(key) for key in list(options) if key in _OWN}
        gc.disable()  # of what is read all stays: to look for garbage in 5000 policies takes a third of the time
        try:
            function(*args, case=_case(**own), **options)
        finally:
            gc.enable()

    for option in reversed(_OPTIONS):
        with_case = option(with_case)
    return with_case


_OWN: Final = frozenset(
    ("paths", "live", "context", "kubeconfig", "destination", "to_context", "namespaces", "to_namespace", "proxy")
) | {"targets", "endpoint", "plane", "cni", "resolved", "router_host_network", "resolver"}


def _case(
    *,
    paths: tuple[str, ...],
    live: bool,
    context: str,
    kubeconfig: str,
    destination: tuple[str, ...],
    to_context: str,
    namespaces: tuple[str, ...],
    to_namespace: str,
    cni: str | None,
    **about: Any,
) -> Case:
    from ferryman.policy.flows import ROUTER_NAMESPACE

    live = live or bool(context or (kubeconfig and not paths))
    if bool(paths) == live:
        raise click.UsageError("name files, a folder or - for standard input; or --cluster, but not both")
    if destination and to_context:
        raise click.UsageError("--destination and --to-context: one of them")
    question = _question(**about)
    others = (question.dns[0], ROUTER_NAMESPACE)
    to = (to_namespace,) if to_namespace else namespaces
    if live:
        one = not (destination or to_context)  # cluster, so that it is asked for the destination's namespace, too
        asked = tuple(dict.fromkeys(namespaces + to)) if one and namespaces else namespaces
        source = _live(context, kubeconfig, asked, others)
    else:
        source = _files(paths)
    there = source
    if destination:
        there = _files(destination)
    elif to_context:
        there = _live(to_context, kubeconfig, to, others)
    return Case(source, there, question, namespaces, to_namespace, cni or "")


def _question(
    *,
    proxy: tuple[str, int | None] | None,
    targets: tuple[tuple[str, int | None], ...],
    endpoint: str,
    plane: str,
    resolved: tuple[tuple[str, IPv4Address | IPv6Address], ...],
    router_host_network: bool,
    resolver: tuple[str, int],
) -> Question:
    from ferryman.policy.flows import Endpoint, Plane, Question, Target

    if proxy and proxy[1] is None:
        raise click.UsageError("--proxy needs the port: HOST:PORT")
    known: dict[str, frozenset[IPv4Address | IPv6Address]] = {}
    for name, address in resolved:
        known[name] = known.get(name, frozenset()) | {address}
    return Question(
        Target(*proxy) if proxy else None,
        tuple(Target(*target) for target in targets),
        Endpoint(endpoint),
        tuple(Plane) if plane == "both" else (Plane[plane.upper()],),
        router_host_network,
        resolver,
        known,
    )


def _files(paths: tuple[str, ...]) -> Reading:
    from ferryman.kubernetes.manifests import read

    return read(paths, sys.stdin.buffer)


def _live(context: str, kubeconfig: str, namespaces: tuple[str, ...], others: tuple[str, ...]) -> Reading:
    from ferryman.kubernetes.cluster import Access, Resource, read

    resources = [Resource(*each) for each in _RESOURCES]
    return read(Access(context, kubeconfig), resources, namespaces, others)


def show_findings(case: Case, err: bool) -> None:
    """Print what is wrong with the manifests."""
    from ferryman.cli.configuration import show
    from ferryman.config.load import Loaded
    from ferryman.config.source import Document

    for reading in case.readings:
        show(Loaded(Document("", {}), None, None, reading.diagnostics, tuple(reading.sources)), err=err)


def worst(case: Case, rulings: list[Ruling]) -> int:
    """The exit code: denied counts more than what is unknown or wrong."""
    from ferryman.cli.verb import FINE, REFUSED
    from ferryman.policy.ruling import Verdict

    verdicts = {ruling.verdict for ruling in rulings}
    if Verdict.DENIED in verdicts:
        return REFUSED
    errors = any(reading.diagnostics.errors for reading in case.readings)
    return FAILED if errors or Verdict.UNKNOWN in verdicts else FINE
