"""`ferryman tproxy doctor`, `install`, `uninstall`: what concerns a hypervisor host as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ferryman.cli.verb import FAILED, verb
from ferryman.opennebula.names import CONTROL, EXECUTABLE, SETTINGS

if TYPE_CHECKING:
    from ferryman.opennebula.symptoms import Finding

_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}
_PATH = click.option(
    "--path", metavar="FILE", help=f"Only this executable, as on a front-end, instead of {EXECUTABLE} and the rest."
)
_DRY = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@verb(
    "doctor",
    examples="""
    # what is wrong with this host, and what to do about it?
    ferryman tproxy doctor

    # repair what is safe to repair, then look again
    ferryman tproxy doctor --fix
    """,
    exits={0: "nothing is wrong; there may be hints", 1: "something is wrong"},
)
@click.option("--fix", is_flag=True, help="Repair what is safe to repair, and examine again.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--settings", "file", metavar="FILE", default=SETTINGS, help=f"Instead of {SETTINGS}.")
def doctor(fix: bool, as_json: bool, file: str) -> None:
    """Find what keeps guests from the services.

    Looks at everything between a guest and the remote: settings, nftables, devices, namespaces, daemons, listeners,
    remotes, logs, and what can be seen of the guests. Each line says what is wrong, the next one what to do. Hints may
    be right as they are. Changes nothing without --fix, and nothing of guests or of the host's own settings with it.
    """
    import json

    from ferryman.opennebula import doctor

    found, done = doctor.examine(file), list[str]()
    if fix and any(finding.fixable for finding in found):
        done = list(doctor.mend(found, file))
        found = doctor.examine(file)
    wrong = [finding for finding in found if finding.severity != "hint"]
    if as_json:
        findings = [_data(finding) for finding in found]
        click.echo(json.dumps({"done": done, "findings": findings}, indent=2, ensure_ascii=False))
    else:
        for line in done:
            click.echo(line)
        for bridge in sorted({finding.bridge for finding in found}):
            _show(bridge, [finding for finding in found if finding.bridge == bridge])
        click.echo(_count(wrong) if wrong else f"this host is fine: {doctor.summary()}")
    if wrong:
        raise click.exceptions.Exit(FAILED)


def _show(bridge: str, found: Iterable[Finding]) -> None:
    click.echo(f"{bridge or 'this host'}:")
    for finding in found:
        severity = click.style(f"{finding.severity:8}", fg=_COLOURS[finding.severity])
        click.echo(f"  {severity} {finding.message}")
        if finding.remedy:
            click.echo(f"{'':11}→ {finding.remedy}{' (--fix does it)' if finding.fixable else ''}")


def _count(wrong: list[Finding]) -> str:
    parts = []
    for severity in ("error", "warning"):
        if number := sum(finding.severity == severity for finding in wrong):
            parts.append(f"{number} {severity}{'' if number == 1 else 's'}")
    return ", ".join(parts)


def _data(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity, "bridge": finding.bridge or None, "message": finding.message,
        "remedy": finding.remedy, "fixable": finding.fixable,
    }  # fmt: skip


@verb(
    "install",
    examples="""
    # on a hypervisor host
    ferryman tproxy install

    # on the front-end, from where `onehost sync -f` copies it to all hosts
    ferryman tproxy install --path /var/lib/one/remotes/vnm/tproxy
    """,
    exits={0: "it is in place", 1: "it is not: what is wrong is told"},
)
@_PATH
@_DRY
def install(path: str | None, dry_run: bool) -> None:
    """Put ferryman in the place of OpenNebula's executable.

    OpenNebula's drivers then call ferryman; daemons of OpenNebula's own that run are replaced at once. The original
    stays beside it as `tproxy.original`, and is what runs on hosts that a front-end sends it to and that have no
    ferryman. The logs are rotated by logrotate, and a timer of systemd runs `ferryman tproxy heal`. May be repeated.
    """
    from ferryman.opennebula import daemons, install

    _demand_root()
    _tell(install.executable(path or EXECUTABLE, dry_run))
    if path is None:
        _tell(install.surroundings(dry_run))
        if not dry_run:
            _tell(daemons.follow())
        click.echo("`onehost sync` puts OpenNebula's own back, unless the front-end has ferryman too (--path)")


@verb(
    "uninstall",
    examples="""
    ferryman tproxy uninstall
    """,
    exits={0: "the original is back", 1: "it is not: what is wrong is told"},
)
@_PATH
@_DRY
def uninstall(path: str | None, dry_run: bool) -> None:
    """Put OpenNebula's executable back.

    Removes all that `install` put there, and ends the daemons. Bridges stay as they are, and what is in nftables: the
    original goes on from there when it is started.
    """
    from ferryman.opennebula import daemons, install

    _demand_root()
    ours = path is None and (install.is_in_place() is not False or _is_running())
    if path is None:
        _tell(install.clear(dry_run))
    _tell(install.restore(path or EXECUTABLE, dry_run))
    if ours:
        click.echo("the daemons are ended; the original's begin with its `start`")
        if not dry_run:
            daemons.stop()


def _is_running() -> bool:
    """Is there a daemon of ours? OpenNebula's own have the same names."""
    from ferryman.controlplane.control import Client
    from ferryman.errors import ControlError

    try:
        Client(CONTROL).status()
    except ControlError:
        return False
    return True


def _demand_root() -> None:
    import os

    from ferryman.errors import StartError

    if os.geteuid() != 0:
        raise StartError("this takes root: run it by sudo")


def _tell(messages: Iterable[str]) -> None:
    for message in messages:
        click.echo(message)
