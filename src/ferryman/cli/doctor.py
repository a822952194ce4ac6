"""`ferryman doctor TARGET`: will a path carry a migration, and where does it break? And the far end that helps.

`ferryman doctor TARGET` is short for `ferryman doctor path TARGET`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ferryman.cli.doctor_options import PASSWORD, read
from ferryman.cli.verb import Verbs, verb

if TYPE_CHECKING:
    from ferryman.doctor.report import Check, Report

_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan", "ok": "green", "unknown": "yellow"}
_WORDS = {"unknown": "not known"}
_WIDTH = 9


class _Doctor(Verbs):
    """Takes what is none of its verbs for the arguments of `path`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["path", *args]
        return super().parse_args(ctx, args)


@click.group(
    "doctor",
    cls=_Doctor,
    examples="""
    # will this path carry it?
    ferryman doctor dvm-shop.apps.example.org --via http://user@proxy.example.org:3128 --expect-cert tls.crt

    # with the far end's help everything can be found out
    ferryman doctor serve --listen :6443
    ferryman doctor --far-end ferryman-doctor-1.eyJm...
    """,
)
def doctor(**_: object) -> None:
    """Find out whether, and where, a path breaks.

    `ferryman doctor TARGET` is short for `ferryman doctor path TARGET`, whose options these are.
    """


@verb(
    "path",
    examples="""
    # without a proxy
    ferryman doctor dvm-shop.apps.example.org

    # through a proxy; the password from a file, the certificate as the migration's secret has it
    ferryman doctor dvm-shop.apps.example.org --via http://user@proxy.example.org:3128 \\
        --via-password-file password --expect-cert tls.crt

    # does the connection survive silence? takes as long as the longest
    ferryman doctor dvm-shop.apps.example.org --via http://proxy.example.org:3128 --idle 20,70

    # the API server, as the controller reaches it
    ferryman doctor dvm-shop.apps.example.org --control https://api.example.org:6443 --control-ca ca.crt \\
        --control-token-file token --control-exec openshift-migration/velero-0
    """,
    exits={
        0: "nothing is wrong; there may be hints, and rows that are not known",
        1: "an error: it will not carry a migration",
        2: "the command line is wrong",
        4: "warnings: it may break one",
    },
)
@click.argument("target", metavar="[TARGET]", required=False)
@click.option("--via", metavar="PROXY", help="Go through this proxy: http://user:password@host:port, or https://.")
@click.option("--via-password-file", metavar="FILE", type=click.File("r"), help="The password is in this file's first "
              f"line, so that it is in no list of processes. Or in the environment: {PASSWORD}.")  # fmt: skip
@click.option("--via-ca", metavar="FILE", default="", help="Authorities that a proxy's certificate is verified by.")
@click.option("--expect-cert", metavar="FILE|FINGERPRINT", multiple=True,
              help="The target shows this certificate: a file, or SHA-256 in hex. May be repeated.")  # fmt: skip
@click.option("--far-end", metavar="TOKEN", help="What `ferryman doctor serve` printed at the target.")
@click.option("--sni", metavar="NAME", default="", help="The server name sent in TLS, instead of the target's host.")
@click.option("--cert", metavar="FILE", help="The client certificate that the target wants.")
@click.option("--key", metavar="FILE", help="Its key, if that is in another file.")
@click.option("--port", "ports", metavar="PORT", type=click.IntRange(1, 65535), multiple=True,
              help="Does the proxy allow this port of the host as well? May be repeated.")  # fmt: skip
@click.option(
    "--module", metavar="NAME", default="", help="The module that rsync is asked for; none: the list of them."
)
@click.option("--idle", metavar="SECONDS,...", default="", help="Does a connection survive silence of this length?")
@click.option("--throughput", metavar="SECONDS", type=click.FloatRange(0, 240), default=0.0,
              help="How fast do bytes get through, and is one survived who reads slowly? Takes --far-end.")  # fmt: skip
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0.1, 300), default=10.0, show_default=True,
              help="How long a connection or an answer may take.")  # fmt: skip
@click.option("--no-direct", is_flag=True, help="Do not ask the target without the proxy, to compare certificates.")
@click.option("--control", metavar="API", help="Examine the way to this API server, too: https://host:6443.")
@click.option("--control-via", metavar="PROXY", help="Reach the API server through this proxy.")
@click.option("--control-ca", metavar="FILE", default="", help="Authorities that its certificate is verified by.")
@click.option(
    "--control-token-file",
    metavar="FILE",
    type=click.File("r"),
    help="The bearer token for it; sent only to who has a certificate that --control-ca verifies.",
)
@click.option("--control-exec", metavar="NAMESPACE/POD", default="",
              help="The pod that `true` is executed in, to see whether Upgrade gets through.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def examine(target: str | None, as_json: bool, **options: Any) -> None:
    """Examine the path to TARGET (host:port; the port is 443 unless it is said).

    The probes go from near to far: names, the first hop, the proxy, TLS and whose certificate is seen, what a tunnel
    must carry besides, rsync's greeting; and with --control the way to an API server. What is wrong has a code, what
    was seen, what it means for a migration, and what to change. What cannot be found out says why.
    Nothing is changed anywhere. Passwords are never shown.
    """
    import json

    from ferryman.doctor.examine import examine as probe

    path = read(target, options)
    if not as_json:
        click.echo(f"{path}:")
    report = probe(path, lambda text: click.echo(text, err=True))
    if as_json:
        click.echo(json.dumps(report.data(), indent=2, ensure_ascii=False))
    else:
        for check in report.checks:
            _show(check)
        click.echo(_summary(report))
    if report.exit_code:
        raise click.exceptions.Exit(report.exit_code)


def _show(check: Check) -> None:
    mark = click.style(f"{_WORDS.get(check.mark, check.mark):{_WIDTH}}", fg=_COLOURS.get(check.mark))
    code = f"{check.verdict.code}: " if check.verdict else ""
    click.echo(f"  {mark} {check.probe:13} {code}{check.said}")
    if check.state not in ("found", "unknown"):
        return
    for name, value in check.evidence.items():
        click.echo(f"{'':14}{name}: {value}")
    if check.verdict:
        click.echo(f"{'':12}  {check.verdict.title} {check.verdict.means} At fault: {_blame(check.verdict.blame)}.")
        first, *more = check.remedy.split("\n")
        click.echo(f"{'':12}→ {first}")
        for line in more:
            click.echo(f"{'':14}{line}")


def _blame(blame: str) -> str:
    return {"unclear": "not found out", "credentials": "credentials"}.get(blame, f"the {blame}")


def _summary(report: Report) -> str:
    counts = []
    for severity in ("error", "warning", "hint"):
        number = sum(check.mark == severity for check in report.checks)
        if number:
            counts.append(f"{number} {severity}{'' if number == 1 else 's'}")
    said = {
        0: "nothing found that would keep it from carrying a migration",
        1: "it will not carry a migration",
        4: "it may break a migration",
    }[report.exit_code]
    unknown = [check.probe for check in report.checks if check.state == "unknown"]
    rest = f"; not known: {', '.join(unknown)}" if unknown else ""
    return f"{', '.join(counts)}{': ' if counts else ''}{said}{rest} ({report.seconds:.1f} s)"


@verb(
    "serve",
    examples="""
    # where the route leads to, in the place of the rsync pod's stunnel
    ferryman doctor serve --listen :6443 --public dvm-shop.apps.example.org:443

    # reached as it is, without a router
    ferryman doctor serve --listen 192.0.2.7:6443
    """,
    exits={0: "ended (Ctrl-C)", 1: "it cannot listen there"},
)
@click.option("--listen", metavar="[HOST]:PORT", default=":6443", show_default=True, help="Where it listens.")
@click.option("--public", metavar="HOST[:PORT]", help="Where the other end reaches it, if it is behind a router that "
              "goes by server names, as an OpenShift route is. The port is 443 unless it is said.")  # fmt: skip
def serve(listen: str, public: str | None) -> None:
    """Be the far end that cooperates.

    Prints a token, which the other end is given: `ferryman doctor --far-end TOKEN`. It tells the other end which
    ClientHello arrived, sends bytes back, speaks first, ends one direction, stays silent, and answers requests for an
    upgrade as an API server does. Who does not know the token learns nothing. The certificate is made for this run.
    """
    import threading

    from ferryman.cli.doctor_options import listening, public_place
    from ferryman.doctor.farend import FarEnd

    host, port = listening(listen)
    end = FarEnd(host, port, public_place(public), lambda text: click.echo(text, err=True))
    click.echo(end.token.text())
    click.echo(f"listening on port {end.port}; the line above is for `ferryman doctor --far-end`", err=True)
    thread = threading.Thread(target=end.serve, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(3600)
    except KeyboardInterrupt:
        end.close()


doctor.add_command(examine)
doctor.add_command(serve)
doctor.params.extend(each for each in examine.params if isinstance(each, click.Option))  # for its help
doctor.exits = examine.exits
