"""`ferryman run FILE…`: in the foreground. Also what start and forward share with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import click

from ferryman.cli.configuration import Input, count, demand, show, source_options
from ferryman.cli.verb import FAILED, verb

if TYPE_CHECKING:
    from ferryman.config.load import Loaded
    from ferryman.controlplane.supervisor import LoadResult
    from ferryman.plan import Plan


class Readable(Protocol):
    """A configuration that can be read again."""

    def load(self, renew: bool = False) -> Loaded:
        """`renew`: only the files that its texts name, such as certificates."""


def process_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --workers and --control to a verb that starts ferryman."""
    function = click.option(
        "--control", metavar="PATH", default="", type=click.Path(readable=False), envvar="FERRYMAN_CONTROL",
        help="Where to make the control socket; also $FERRYMAN_CONTROL.",
    )(function)  # fmt: skip
    return click.option(
        "--workers", metavar="N", type=click.IntRange(1, 1024),
        help="Worker processes; default: as configured, or one per CPU.",
    )(function)  # fmt: skip


@verb(
    "run",
    examples="""
    # a file of HAProxy's, or native YAML: the dialect is recognised
    ferryman run haproxy.cfg
    ferryman run ferryman.yaml

    # all *.cfg, *.conf, *.yaml and *.yml of a folder as one configuration
    ferryman run /etc/ferryman/

    # what another program writes
    generate-config | ferryman run -

    # on a machine without the user that the file names
    ferryman run haproxy.cfg --set global.user=nobody --set global.chroot=
    """,
    exits={0: "it was stopped", 1: "it was refused; every reason was printed"},
)
@source_options
@process_options
def run(source: Input, workers: int | None, control: str) -> None:
    """Run a configuration in the foreground.

    Several files are read as one. Ctrl-C or SIGTERM ends it at once, SIGUSR1 when its connections have ended; SIGHUP
    reads the files again.
    """
    if workers:
        source = source.with_overrides(("global.workers", str(workers)))
    plan = prepare(source.load())
    if plan.settings.daemon:
        click.echo("ferryman: note: run stays in the foreground; daemon is honoured by `ferryman start`", err=True)
    raise click.exceptions.Exit(serve(plan, source, control))


def prepare(loaded: Loaded) -> Plan:
    """A plan that this machine can run; ends with exit code 1 and all reasons if there is none."""
    from ferryman.controlplane.machine import denied, lacks

    plan = demand(loaded)
    reasons = [*lacks(plan), *denied(plan)]
    if reasons:
        diagnostics = loaded.diagnostics
        diagnostics.found.clear()  # shown already
        for lack in reasons:
            diagnostics.error(loaded.document.mark(lack.path), lack.message, lack.hint)
        show(loaded, err=True)
        click.echo(f"ferryman: this machine cannot run it: {count(diagnostics.found)}; nothing was started", err=True)
        raise click.exceptions.Exit(FAILED)
    return plan


def serve(plan: Plan, source: Readable, control: str) -> int:
    """Run a plan in the foreground until it is stopped; the exit code. Raises StartError."""
    from ferryman.controlplane.supervisor import Options
    from ferryman.controlplane.supervisor import run as supervise

    return supervise(plan, reloader(source), Options(control=control))


def reloader(source: Readable) -> Callable[[bool], LoadResult]:
    """How the supervisor gets the next plan."""
    from ferryman.controlplane.supervisor import LoadResult

    def load(renew: bool) -> LoadResult:
        loaded = source.load(renew)
        return LoadResult(loaded.plan, [str(finding) for finding in loaded.diagnostics.found])

    return load
