"""`ferryman migrate manifests`: the objects of a migration between two clusters, as two files to apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ferryman.cli.verb import verb

if TYPE_CHECKING:
    from ferryman.config.proxy_url import ProxyUrl
    from ferryman.migrate.dvm import Endpoint, Volume


@verb(
    "manifests",
    examples="""
    # two volumes of the namespace shop, over a route, through a proxy
    ferryman migrate manifests --from shop --to shop --pvc data --pvc logs=old-logs --subdomain apps.two.example \\
        --via http://user@proxy.example:3128 --via-password-file secret.txt --output manifests/
    kubectl --context two apply -f manifests/destination.yaml
    kubectl --context one apply -f manifests/source.yaml

    # without routes: a port of the nodes
    ferryman migrate manifests --from shop --to shop --pvc data --endpoint nodeport --host 192.0.2.7 --output manifests/
    """,
    exits={0: "both files are written", 1: "not written: what is wrong is told", 2: "called wrongly"},
)
@click.option("--from", "source", required=True, metavar="NAMESPACE", help="Whose volumes they are.")
@click.option("--to", "destination", required=True, metavar="NAMESPACE", help="In the other cluster.")
@click.option(
    "--pvc", "claims", multiple=True, required=True, metavar="NAME[=NAME]", help="A claim, and what it is called there."
)
@click.option("--endpoint", type=click.Choice(["route", "nodeport", "clusterip"]), default="route", show_default=True)
@click.option("--subdomain", metavar="DOMAIN", help="Of the routes of the other cluster, such as apps.two.example.")
@click.option("--host", metavar="HOST", help="Of the route; of a node; or the address of the Service.")
@click.option("--node-port", type=click.IntRange(30000, 32767), default=30443, show_default=True)
@click.option("--via", metavar="URL", help="A proxy that the source goes through: http://USER:PASSWORD@HOST:PORT.")
@click.option("--via-password-file", type=click.File(), metavar="FILE", help="Its password, instead of in the URL.")
@click.option("--attempts", type=click.IntRange(1), default=20, show_default=True, help="Runs of rsync for a volume.")
@click.option("--image", metavar="IMAGE", help="With ferryman (packaging/Containerfile).")
@click.option("--rsync-image", metavar="IMAGE", help="With rsync and a shell.")
@click.option("--output", required=True, metavar="FOLDER", help="Gets source.yaml and destination.yaml.")
def manifests(
    source: str,
    destination: str,
    claims: tuple[str, ...],
    endpoint: Endpoint,
    subdomain: str | None,
    host: str | None,
    node_port: int,
    via: str | None,
    via_password_file: Any,
    attempts: int,
    image: str | None,
    rsync_image: str | None,
    output: str,
) -> None:
    """Render what a migration needs in both clusters.

    Pods, Services, Route, Secrets and NetworkPolicies with the labels of Direct Volume Migration, for volumes with file
    systems. The claims exist in both clusters already; what a destination has beyond the source is deleted there. The
    files have private keys in them, made for this migration: use both of one run.
    """
    from ferryman.migrate import dvm
    from ferryman.migrate import manifests as made

    _check_names(source, destination)
    if host is None and (endpoint != "route" or subdomain is None):
        raise click.UsageError("say --subdomain or --host" if endpoint == "route" else f"a {endpoint} needs --host")
    _check_host(host, "--host")
    _check_host(subdomain, "--subdomain")
    port = {"route": 443, "nodeport": node_port, "clusterip": dvm.PORT}[endpoint]
    migration = dvm.Migration(
        source,
        destination,
        _volumes(claims),
        host or dvm.route_host(destination, subdomain or ""),
        port,
        endpoint,
        _proxy(via, via_password_file),
    )
    standard = made.Images()
    images = made.Images(image or standard.ferryman, rsync_image or standard.rsync)
    for name, path in _write(made.render(migration, images, attempts), output).items():
        click.echo(f"{path}  is for the cluster of the {name}")


def _check_names(*names: str) -> None:
    import re

    for name in names:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
            raise click.UsageError(f"{name!r} is no namespace: small letters, digits and `-`, 63 at most")


def _volumes(claims: Sequence[str]) -> tuple[Volume, ...]:
    """Two volumes in one would delete each other's files, as each is made to be like its source."""
    volumes = tuple(map(_volume, claims))
    for where, names in (("here", [one.source for one in volumes]), ("there", [one.destination for one in volumes])):
        for name in names:
            if names.count(name) > 1:
                raise click.UsageError(f"--pvc: {name} is named twice {where}; a claim goes to one of its own")
    return volumes


def _check_host(text: str | None, option: str) -> None:
    """It gets into stunnel.conf, where a line of its own would be an option."""
    from ferryman.wire.authority import parse_host

    try:
        parse_host(text or "unsaid")
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _volume(claim: str) -> Volume:
    import re

    from ferryman.migrate.dvm import Volume

    here, _, there = claim.partition("=")
    for name in (here, there or here):
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
            raise click.UsageError(f"{name!r} is no name of a claim: small letters, digits, `-` and `.`")
    return Volume(here, there or here)


def _proxy(text: str | None, password: Any) -> ProxyUrl | None:
    """As stunnel can use it: plain HTTP, and a password wherever there is a user."""
    from ferryman.config.proxy_url import check_credential, parse_proxy_url

    if text is None:
        return None
    if password is not None:
        from urllib.parse import quote

        secret = password.read().rstrip("\n")
        scheme, _, rest = text.partition("://")
        user, at, place = rest.rpartition("@")
        if not at or ":" in user or not secret:
            raise click.UsageError("--via-password-file goes with a user in --via who has no password there")
        text = f"{scheme}://{user}:{quote(secret, safe='')}@{place}"
    try:
        url = parse_proxy_url(text)
        check_credential(url.password, "password")
    except ValueError as error:
        raise click.UsageError(f"--via: {error}") from None
    if url.scheme != "http":
        raise click.UsageError(f"--via: stunnel speaks to proxies by http:// only, not by {url.scheme}://")
    if url.address.family == "inet6":
        raise click.UsageError("--via: stunnel takes no IPv6 address of a proxy; write its name")
    return url


def _write(sides: dict[str, list[dict[str, Any]]], folder: str) -> dict[str, str]:
    """The path of each side's file. Nobody else can read them, and none is replaced: its keys may be in use."""
    import os

    import yaml

    from ferryman.errors import FerrymanError

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as such."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, block)
    paths = {side: os.path.join(folder, f"{side}.yaml") for side in sides}
    try:
        os.makedirs(folder, exist_ok=True)
        for path in paths.values():
            if os.path.lexists(path):
                raise FerrymanError(
                    f"{path} is there already, with keys of its own; remove both files, or name a folder"
                )
        for side, path in paths.items():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                yaml.dump_all(sides[side], file, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    except OSError as error:
        raise FerrymanError(f"cannot write {error.filename}: {error.strerror}") from None
    return paths
