"""`ferryman check FILE…`: every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from ferryman.cli.configuration import Input, count, show, source_options
from ferryman.cli.verb import FAILED, verb

if TYPE_CHECKING:
    from ferryman.config.tlssummary import Accepted


@verb(
    "check",
    examples="""
    # one file, or all that is in a folder
    ferryman check haproxy.cfg
    ferryman check /etc/ferryman/

    # in a pipeline: warnings count, too
    ferryman check --strict haproxy.cfg

    # for an editor or another program
    ferryman check --json haproxy.cfg

    # what is generated, before it is written anywhere
    generate-config | ferryman check -
    """,
    exits={0: "it can run", 1: "it has errors (with --strict: or warnings)"},
)
@source_options
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(source: Input, strict: bool, as_json: bool) -> None:
    """Find every mistake in a configuration, at once.

    Each is shown with its place and with what was probably meant. A warning says what works differently from
    what was probably meant, or what this machine lacks to run it. For every listener that ends TLS it says what
    clients may speak, and which certificates they see.
    """
    from ferryman.config import render
    from ferryman.config.tlssummary import summary
    from ferryman.controlplane.machine import lacks

    loaded = source.load()
    accepted = summary(loaded.plan) if loaded.plan else []
    diagnostics = loaded.diagnostics
    for lack in lacks(loaded.plan) if loaded.plan else ():
        diagnostics.warning(loaded.document.mark(lack.path), lack.message, lack.hint)
    failed = bool(diagnostics.errors or (strict and diagnostics.warnings))
    if as_json:
        report = {
            "ok": not failed,
            "dialect": loaded.document.dialect or None,
            "errors": diagnostics.errors,
            "warnings": diagnostics.warnings,
            "diagnostics": [render.as_json(finding) for finding in diagnostics.found],
            "tls": [asdict(each) for each in accepted],
        }
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        show(loaded, err=False)
        for each, listeners in _grouped(accepted):
            click.echo(_described(each, listeners))
        click.echo(count(diagnostics.found) if diagnostics.found else "configuration is fine")
    if failed:
        raise click.exceptions.Exit(FAILED)


def _grouped(accepted: Iterable[Accepted]) -> list[tuple[Accepted, list[str]]]:
    """Each case once, with the listeners that have it: an sni.yaml has its entries at all ports."""
    listeners: dict[Accepted, list[str]] = {}
    for each in accepted:
        listeners.setdefault(replace(each, listener=""), []).append(each.listener)
    return list(listeners.items())


def _described(accepted: Accepted, listeners: Sequence[str]) -> str:
    """What one `tls` of these listeners accepts, as a paragraph."""
    from ferryman.config.render import printable

    rows = [
        ("versions", " ".join(accepted.versions)),
        ("ciphers", " ".join(accepted.ciphers)),
        ("ciphersuites", " ".join(accepted.ciphersuites)),
        ("groups", " ".join(accepted.groups)),
        ("alpn", " ".join(accepted.alpn) or "what the server chooses, if it speaks TLS"),
        ("clients", f"certificate {accepted.clients}" if accepted.clients != "none" else ""),
        ("names", "others are refused" if accepted.strict else ""),
    ]
    for each in accepted.certificates:
        names = ", ".join(each.names) or "no name"
        rows.append(("certificate", f"{names}: {each.key}, expires {each.expires[:10]} ({each.file})"))
    who = f"listener {listeners[0]} ends" if len(listeners) == 1 else f"listeners {', '.join(listeners)} end"
    lines = [f"{who} TLS ({accepted.where})"]
    return "\n".join(map(printable, lines + [f"  {name:<13} {text}" for name, text in rows if text]))
