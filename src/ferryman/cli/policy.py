"""`ferryman policy`: do a cluster's policies let a migration through, why not, and what to change."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from ferryman.cli.policy_options import Case, case_options, show_findings, worst
from ferryman.cli.verb import FAILED, Verbs, verb

if TYPE_CHECKING:
    from ferryman.kubernetes.manifests import Reading
    from ferryman.policy.objects import Cause
    from ferryman.policy.ruling import Ruling

_COLOURS: Final[dict[str, dict[str, Any]]] = {
    "ALLOWED": {"fg": "green"},
    "UNKNOWN": {"fg": "yellow", "bold": True},
    "DENIED": {"fg": "red", "bold": True},
}
_EXITS: Final = {
    0: "every flow is allowed",
    1: "a flow is unknown, or a manifest has mistakes",
    3: "a flow is denied",
}
_MANY: Final = 60  # rows; where there are more, those that are fine are only counted


@click.group(
    "policy",
    cls=Verbs,
    examples="""
    # do these manifests let a migration through, by a proxy?
    ferryman policy check manifests/ --proxy 192.0.2.7:3128

    # the smallest change that does
    ferryman policy fix manifests/ --proxy 192.0.2.7:3128 | kubectl apply -f -

    # why?
    ferryman policy explain manifests/ --proxy 192.0.2.7:3128 -n shop
    """,
)
def policy() -> None:
    """Whether a cluster's policies let a migration through.

    NetworkPolicy, EgressNetworkPolicy and EgressFirewall are evaluated for the connections that Direct Volume Migration
    needs: F1, the client's pod asks for a name; F2, it connects to the proxy or to the router; F3, the router connects
    to the server's pod. Nothing is asked of the network.
    """


@verb(
    "check",
    examples="""
    # a folder of manifests, a proxy in between
    ferryman policy check manifests/ --proxy 192.0.2.7:3128

    # no proxy: the router's addresses, one namespace
    ferryman policy check manifests/ -n shop --to 203.0.113.10 --to 203.0.113.11

    # two live clusters, as kubectl knows them
    ferryman policy check --context old --to-context new -n shop --proxy 192.0.2.7:3128

    # for another program
    kubectl get networkpolicy -A -o yaml | ferryman policy check - --json
    """,
    exits=_EXITS,
)
@case_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def check(case: Case, as_json: bool) -> None:
    """Say of every flow whether it is allowed.

    DENIED names the object and the rule, UNKNOWN says what is not known. Mistakes in the manifests are shown, too;
    a policy that cannot be understood makes its namespace's flows UNKNOWN.
    """
    from ferryman.policy.flows import Side
    from ferryman.policy.mistakes import find, find_needless

    worlds = case.worlds()
    source, destination = worlds[Side.SOURCE], worlds[Side.DESTINATION]
    find(source, case.question.planes, case.source.diagnostics)
    if destination is not source:
        find(destination, case.question.planes, case.destination.diagnostics)
        find_needless(source, destination, case.source.diagnostics)
    rulings = case.rulings(worlds)
    code = worst(case, rulings)
    if as_json:
        click.echo(json.dumps(_report(case, rulings, code), indent=2))
    else:
        show_findings(case, err=False)
        _table(rulings, case.question.proxy is not None)
        if not any(world.has_policies for world in worlds.values()):
            click.echo("there is no policy among what was read, and where there is none everything is allowed")
        for reading in case.readings:
            _others(reading)
    if code:
        raise click.exceptions.Exit(code)


def _table(rulings: list[Ruling], proxied: bool) -> None:
    from ferryman.config.render import printable
    from ferryman.policy.ruling import Stage

    shown = rulings if len(rulings) <= _MANY else [each for each in rulings if each.verdict.value != "ALLOWED"]
    namespace = ""
    for ruling in shown:
        if ruling.flow.namespace != namespace:
            namespace = ruling.flow.namespace
            click.echo(printable(f"namespace {namespace}"))
        word = ruling.verdict.value
        click.echo(f"  {click.style(f'{word:<7}', **_COLOURS[word])}  {printable(str(ruling.flow))}")
        for layer in ruling.blocking:
            click.echo(f"           {printable(f'{layer.stage.value}: {layer.reason}')}")
            for cause in layer.causes[:5]:
                click.echo(f"           by {printable(str(cause))}")
            if len(layer.causes) > 5:
                click.echo(f"           and {len(layer.causes) - 5} more")
    if proxied and any(layer.stage is Stage.FIREWALL for ruling in rulings for layer in ruling.blocking):
        click.echo(
            "with a proxy it is the proxy's address that an egress firewall has to allow, not the other cluster's"
        )
    counted = Counter(ruling.verdict.value for ruling in rulings)
    click.echo(", ".join(f"{counted[word]} {word.lower()}" for word in _COLOURS if counted[word]) or "no flow")


def _others(reading: Reading) -> None:
    from ferryman.config.render import printable

    if counted := _other_kinds(reading):
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items()))
        click.echo(printable(f"not policies, and not looked at: {listed}"))


def _other_kinds(reading: Reading) -> Counter[str]:
    from ferryman.policy.reading import counts

    return Counter(manifest.kind for manifest in reading.manifests if not counts(manifest))


def _report(case: Case, rulings: list[Ruling], code: int) -> dict[str, object]:
    from ferryman.config.render import as_json

    return {
        "ok": code == 0,
        "flows": [_flow(ruling) for ruling in rulings],
        "diagnostics": [as_json(each) for reading in case.readings for each in reading.diagnostics.found],
        "others": dict(sorted(sum((_other_kinds(reading) for reading in case.readings), Counter()).items())),
    }


def _flow(ruling: Ruling) -> dict[str, object]:
    flow, layer = ruling.flow, ruling.decisive
    return {
        "flow": flow.name,
        "plane": str(flow.plane),
        "side": flow.side.value,
        "namespace": flow.namespace,
        "from": str(flow.connection.source),
        "to": str(flow.connection.destination),
        "protocol": flow.connection.protocol,
        "port": flow.connection.port,
        "verdict": ruling.verdict.value,
        "layer": layer.stage.value,
        "reason": layer.reason,
        "by": [_cause(cause) for each in ruling.blocking or (layer,) for cause in each.causes],
    }


def _cause(cause: Cause) -> dict[str, object]:
    manifest, mark = cause.manifest, cause.mark
    return {
        "kind": manifest.kind,
        "namespace": manifest.namespace or None,
        "name": manifest.name,
        "path": list(cause.path),
        "file": mark.file,
        "line": mark.line,
        "column": mark.column,
    }


@verb(
    "fix",
    examples="""
    # look at it first
    ferryman policy fix manifests/ --proxy 192.0.2.7:3128

    # then apply it
    ferryman policy fix manifests/ --proxy 192.0.2.7:3128 | kubectl apply -f -
    """,
    exits={0: "with this every flow is allowed", 1: "something stays unknown, or denied: it says what and why"},
)
@case_options
@click.option(
    "--side",
    type=click.Choice(["source", "destination"]),
    help="Only what to apply in the cluster of this side.",
)
def fix(case: Case, side: str | None) -> None:
    """Print the smallest change that lets the flows through.

    The objects go to standard output as YAML, what they do to standard error. A new policy has a name of its own and
    selects the migration's pods alone, and only where they are isolated: a policy isolates what it selects. An egress
    firewall is printed whole, with an Allow before the first rule that stops the flow.
    """
    from ferryman.config.render import printable
    from ferryman.config.source import Source
    from ferryman.kubernetes.manifests import take
    from ferryman.policy.advice import advise, text
    from ferryman.policy.flows import Side
    from ferryman.policy.ruling import Verdict

    worlds = case.worlds()
    rulings = case.rulings(worlds)
    show_findings(case, err=True)
    advice = advise(worlds, rulings, case.question.known)
    for words in advice.words:
        click.echo(printable(f"ferryman: {words}"), err=True)
    for change in advice.changes:
        click.echo(printable(f"ferryman: {change.side.value}: {change.why}"), err=True)
        reading = case.source if change.side is Side.SOURCE else case.destination
        take(Source(f"<fix {change.side.value}>", text([change])), reading)
    if not advice.changes and all(ruling.verdict is Verdict.ALLOWED for ruling in rulings):
        click.echo("ferryman: nothing to add: every flow is allowed", err=True)
        return
    click.echo(text(change for change in advice.changes if side in (None, change.side.value)), nl=False)
    left = [ruling for ruling in case.rulings(case.worlds()) if ruling.verdict is not Verdict.ALLOWED]
    for ruling in left:
        words = f"{ruling.flow} stays {ruling.verdict.value} in {ruling.flow.namespace}: {ruling.decisive.reason}"
        click.echo(printable(f"ferryman: {words}"), err=True)
    if left:
        raise click.exceptions.Exit(FAILED)


@verb(
    "explain",
    examples="""
    ferryman policy explain manifests/ -n shop --proxy 192.0.2.7:3128

    # one of the flows
    ferryman policy explain manifests/ -n shop --proxy 192.0.2.7:3128 --flow F2 --plane fs
    """,
    exits=_EXITS,
)
@case_options
@click.option("--flow", "flows", type=click.Choice(["F1", "F2", "F3"]), multiple=True, help="Only this one.")
def explain(case: Case, flows: tuple[str, ...]) -> None:
    """Walk a flow through the policies, step by step.

    Shows every policy of the namespace, whether it selects the pod, and what each of its rules says.
    """
    from ferryman.config.render import printable
    from ferryman.policy.story import tell

    worlds = case.worlds()
    rulings = [each for each in case.rulings(worlds) if not flows or each.flow.name in flows]
    show_findings(case, err=True)
    for ruling in rulings:
        for step in tell(worlds[ruling.flow.side], ruling, case.question.known):
            place = f"  ({step.cause.mark})" if step.cause else ""
            click.echo("  " * step.depth + printable(step.text + place))
    if code := worst(case, rulings):
        raise click.exceptions.Exit(code)


for command in (check, fix, explain):
    policy.add_command(command)
