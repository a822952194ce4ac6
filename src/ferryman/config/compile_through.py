"""Ways through other proxies: settings to plan.Through, for listeners and backends alike.

Called by config.compile_connect and config.compile_backend.
"""

from __future__ import annotations

from ferryman.config.compile_tlslimits import check_server_name
from ferryman.config.files import read_certificates
from ferryman.config.model_connect import HopSettings
from ferryman.config.proxy_url import check_credential, parse_proxy_url
from ferryman.config.source import Path, Report
from ferryman.plan import Hop, Through
from ferryman.rules.noproxy import NoProxy


def compile_through(ways: list[list[HopSettings]], path: Path, report: Report) -> Through:
    """`path` is where the alternatives stand."""
    chains = []
    for number, way in enumerate(ways):
        hops = [_hop(hop, place_of_hop(path, number, position, report), report) for position, hop in enumerate(way)]
        chains.append(tuple(hops))
    for number, chain in enumerate(chains):
        if chain in chains[:number]:
            report.warning(
                place_of_hop(path, number, 0, report), "this way is already in the list", "remove one of them"
            )
    return Through(tuple(chains))


def place_of_hop(path: Path, way: int, hop: int, report: Report) -> Path:
    """Where a hop stands: one alternative may stand for a list of them, and one hop for a list of hops."""
    for place in ((*path, way, hop), (*path, way)):
        if place in report.document.marks:
            return place
    return path


def _hop(settings: HopSettings, path: Path, report: Report) -> Hop:
    url = parse_proxy_url(settings.url)
    user, password = settings.user or url.user, settings.password or url.password
    if url.user and (settings.user or settings.password):
        report.error(path, "credentials stand in the URL and beside it", "remove one of them")
    elif bool(user) != bool(password):
        missing = "password" if user else "user"
        report.error(path, f"{'`user`' if user else '`password`'} without `{missing}`", f"add `{missing}:`")
    for what, text in (("user", settings.user), ("password", settings.password)):
        try:
            check_credential(text, what)
        except ValueError as error:
            report.error((*path, what), str(error))
    passes = settings.credentials == "client"
    if passes and url.scheme == "socks5":
        report.error((*path, "credentials"), "SOCKS has no Proxy-Authorization to send on", "remove `credentials:`")
    if passes and user:
        report.error((*path, "credentials"), "the client's credentials or its own: which are meant?", "remove one")
    if url.scheme != "https":
        for key in ("ca", "server_name", "verify"):
            if key in settings.model_fields_set:
                hint = f"remove it, or write https://{url.address}"
                report.error((*path, key), f"`{key}` is about TLS, which {url.scheme} does not speak", hint)
    elif settings.server_name:
        check_server_name(settings.server_name, (*path, "server_name"), report)
    if url.scheme == "https" and not settings.verify:
        report.warning((*path, "verify"), "whoever sits in between can read the credentials and pose as this proxy")
    return Hop(
        scheme=url.scheme,
        address=url.address,
        user=user,
        password=password,
        pass_credentials=passes,
        ca=read_certificates(settings.ca, (*path, "ca"), report) if settings.ca else "",
        server_name=settings.server_name,
        verify=settings.verify,
        exceptions=_exceptions(settings.exceptions, (*path, "except"), report),
    )


def _exceptions(entries: list[str], path: Path, report: Report) -> NoProxy | None:
    for number, entry in enumerate(entries):
        try:
            NoProxy.of([entry])
        except ValueError as error:
            report.error((*path, number), str(error))
            return None
    return NoProxy.of(entries) if entries else None
