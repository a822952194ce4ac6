"""`ferryman explain FILE…`: what would become of a connection, and why."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ferryman.cli.configuration import Input, demand, source_options
from ferryman.cli.verb import REFUSED, verb

if TYPE_CHECKING:
    from ferryman.config.source import Document
    from ferryman.controlplane.trace import Trace
    from ferryman.controlplane.trace_connect import Explicit, Wish
    from ferryman.plan import Plan, Server
    from ferryman.rules.explain import Step

CLIENT_PORT: Final = 49152
"""Of a client whose port was not said."""

_COLOURS: Final[dict[str, dict[str, Any]]] = {
    "held": {"fg": "green", "bold": True},
    "waits": {"fg": "yellow"},
    "not reached": {"dim": True},
}


_AT_STEP: Final = {1: "the target is named", 2: "the client's hello is there", 3: "the server's is there too"}


class _Client(click.ParamType[tuple[str, int]]):
    """192.0.2.7, 192.0.2.7:50000, 2001:db8::7, [2001:db8::7]:50000, or unix."""

    name = "client"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        if value == "unix":
            return value, 0
        for host, port in ((value, ""), value.rpartition(":")[::2]):
            try:
                address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
            except ValueError:
                continue
            if not port:
                return address, CLIENT_PORT
            if port.isascii() and port.isdigit() and int(port) <= 65535:
                return address, int(port)
        return self.fail(f"{value!r} is not an address such as 192.0.2.7 or [2001:db8::7]:50000", param, ctx)


class _ServerName(click.ParamType[tuple[str, str]]):
    """BACKEND/SERVER as a pair."""

    name = "server"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        backend, slash, server = value.partition("/")
        if not (backend and slash and server):
            self.fail(f"{value!r} is not of the form BACKEND/SERVER", param, ctx)
        return backend, server


class _Target(click.ParamType[tuple[str, int]]):
    """HOST:PORT as a client names it."""

    name = "target"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        from ferryman.wire.authority import parse_authority

        try:
            return parse_authority(value) if isinstance(value, str) else value
        except ValueError as error:
            return self.fail(f"{value!r}: {error}", param, ctx)


class _Address(click.ParamType[str]):
    """A numeric address."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _is_address(value):
            self.fail(f"{value!r} is not an address such as 192.0.2.7 or 2001:db8::7", param, ctx)
        return _numeric(value)


@verb(
    "explain",
    examples="""
    # a TLS client that asks for a name
    ferryman explain haproxy.cfg --client 192.0.2.7 --port 6443 --sni api.example.org

    # where do its clients go when a server is down?
    ferryman explain haproxy.cfg --client 192.0.2.7 --port 6443 --down masters/master-0

    # through an explicit proxy, as someone whose password was right
    ferryman explain squid.conf --client 10.0.0.7 --target www.example.org:443 --user alice

    # with the hello that a real client sent (raw bytes, or hexadecimal)
    ferryman explain haproxy.cfg --client 2001:db8::7 --port 443 --hello-file hello.bin
    """,
    exits={
        0: "it would get to a server, or to the stats page",
        1: "the configuration has errors",
        3: "it would be refused",
    },
)
@source_options
@click.option("--client", metavar="ADDRESS[:PORT]", type=_Client(), required=True, help="Where the client comes from.")
@click.option("--port", metavar="PORT", type=click.IntRange(1, 65535),
              help="The port it connects to; may be left out where there is only one.")  # fmt: skip
@click.option("--address", metavar="ADDRESS", default="",
              help="The address it connects to, or the path of a Unix socket; default: any.")  # fmt: skip
@click.option("--target", metavar="HOST:PORT", type=_Target(), help="What it asks an explicit proxy for.")
@click.option("--user", metavar="NAME", default="", help="Who it proves to be to an explicit proxy; default: nobody.")
@click.option("--method", metavar="METHOD", default="CONNECT",
              help="Of its request: CONNECT, GET and so on, or SOCKS5; default: CONNECT.")  # fmt: skip
@click.option("--resolved", metavar="ADDRESS", multiple=True, type=_Address(),
              help="What the target's name resolves to. May be given more than once.")  # fmt: skip
@click.option("--certificate", metavar="NAME", multiple=True,
              help="A name in the certificate of the target. May be given more than once.")  # fmt: skip
@click.option("--sni", metavar="NAME", default="",
              help="The server name in its TLS hello; default: none, or the host of --target.")  # fmt: skip
@click.option(
    "--alpn", metavar="NAME[,NAME...]", default="", help="The protocols in its TLS hello, such as h2,http/1.1."
)
@click.option(
    "--hello-file", metavar="PATH", type=click.File("rb"), help="What it sends first, instead of --sni and --alpn."
)
@click.option("--no-tls", is_flag=True, help="It does not speak TLS.")
@click.option("--down", metavar="BACKEND/SERVER", multiple=True, type=_ServerName(),
              help="This server is down; all others count as up. May be given more than once.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def explain(
    source: Input,
    client: tuple[str, int],
    port: int | None,
    address: str,
    target: tuple[str, int] | None,
    user: str,
    method: str,
    resolved: tuple[str, ...],
    certificate: tuple[str, ...],
    sni: str,
    alpn: str,
    hello_file: Any,
    no_tls: bool,
    down: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Tell where a connection would get to, and why.

    Which listener, rule, backend and server it would get, and for every rule before it why not. Of an explicit proxy:
    which access rule, which way out, and what would be done with its TLS at each step.
    Nothing is started and no server is asked.
    """
    from ferryman.controlplane.trace import AmbiguousError, Attempt, MisplacedError, trace
    from ferryman.controlplane.trace_connect import Wish

    wish = None
    if target:
        wish = Wish(*target, user, "" if method.upper() == "SOCKS5" else method.upper(), resolved, certificate)
    elif user or resolved or certificate:
        raise click.UsageError("--user, --resolved and --certificate need a --target")
    if no_tls and (sni or alpn or hello_file):
        raise click.UsageError("--no-tls and a hello exclude each other")
    if hello_file and (sni or alpn):
        raise click.UsageError("--hello-file and --sni or --alpn exclude each other")
    loaded = source.load()
    plan = loaded.plan or demand(loaded)  # warnings are for check to show
    _demand_servers(plan, down)
    if target and not sni and not _is_address(target[0]):
        sni = target[0]
    first_bytes = _first_bytes(hello_file.read()) if hello_file else None if no_tls else hello(sni, alpn)
    try:
        told = trace(plan, Attempt(*client, _port(plan, port, address), _numeric(address), first_bytes, wish), down)
    except AmbiguousError as error:
        raise click.UsageError(f"{error}; say which with --address") from None
    except MisplacedError as error:
        raise click.UsageError(f"{error}: --target") from None
    _demand_user(told, user)
    click.echo(json.dumps(_data(told), indent=2, ensure_ascii=False) if as_json else _story(told, loaded.document))
    if told.refused:
        raise click.exceptions.Exit(REFUSED)


def hello(sni: str, alpn: str) -> bytes:
    """The ClientHello of a TLS client, made by OpenSSL. Raises click.BadParameter."""
    import ssl

    if _is_address(sni):
        raise click.BadParameter(f"{sni} is an address; clients send names only", param_hint="--sni")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    try:
        if alpn:
            context.set_alpn_protocols(alpn.split(","))
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=sni or None).do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    except (ValueError, ssl.SSLError) as error:
        raise click.BadParameter(str(error), param_hint="--sni or --alpn") from None
    raise AssertionError("a handshake without a server")


def _first_bytes(content: bytes) -> bytes:
    """Raw, or hexadecimal text."""
    try:
        return bytes.fromhex(content.decode("ascii"))
    except ValueError:
        return content


def _numeric(address: str) -> str:
    """An address as the plan has it, or a path."""
    try:
        return str(ipaddress.ip_address(address.removeprefix("[").removesuffix("]")))
    except ValueError:
        return address.removeprefix("unix@").removeprefix("abns@")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _demand_user(told: Trace, user: str) -> None:
    connect = told.listener.connect if told.listener else None
    if connect is None or not user:
        return
    names = [name for name, _ in connect.users]
    if (user.lower() if connect.ignore_case else user) not in names:
        there_are = f"there are {', '.join(names)}" if 0 < len(names) <= 10 else f"there are {len(names) or 'no'} users"
        raise click.BadParameter(f"there is no user {user}; {there_are}", param_hint="--user")


def _port(plan: Plan, port: int | None, address: str) -> int:
    if port is not None or address.startswith(("/", "unix@", "abns@")):
        return port or 0
    ports = {bound.port for listener in plan.listeners for bound in listener.bind if listener.mode != "pages"}
    if len(ports) != 1 or any(bound.last_port for listener in plan.listeners for bound in listener.bind):
        raise click.UsageError("say which port the client connects to: --port")
    return ports.pop()


def _demand_servers(plan: Plan, named: Iterable[tuple[str, str]]) -> None:
    known = {(server.backend, server.name) for server in plan.servers}
    for backend, server in named:
        if (backend, server) not in known:
            others = ", ".join(f"{of}/{name}" for of, name in sorted(known))
            raise click.BadParameter(f"there is no server {backend}/{server}; there are {others}", param_hint="--down")


# as text


def _story(told: Trace, document: Document) -> str:
    listener, lines = told.listener, [_heading("client", _client(told))]
    if listener is not None:
        where = f"{listener.name}, bound to {told.local}{_at(document, ('listeners', listener.name))}"
        lines.append(_heading("listener", where))
    for title, steps in (("connection rules", told.connection), ("inspect rules", told.inspect)):
        lines += _steps(title, steps)
    if told.waited is not None:
        lines.append(
            f"  These wait for more from the client; nothing more comes, so they decide after {told.waited:g} s."
        )
    lines += _steps("routes", told.routes)
    lines += _steps("server rules", told.server_rules)
    if told.explicit is not None:
        lines += _steps("access rules", told.explicit.access)
        lines += _steps("via", told.explicit.via) if len(told.explicit.via) > 1 else []
        for number, steps in enumerate(told.explicit.tls, 1):
            lines += _steps(f"tls rules, step {number}: {_AT_STEP[number]}", steps)
    if lines[-1]:
        lines.append("")
    lines += _end(told, document)
    return "\n".join(lines)


def _heading(word: str, text: str) -> str:
    from ferryman.config.render import printable

    return click.style(f"{word:<9}", bold=True) + printable(text)


def _client(told: Trace) -> str:
    attempt, sent = told.attempt, told.hello
    port = "" if attempt.client_port in (CLIENT_PORT, 0) else f", port {attempt.client_port}"
    to = f" to {attempt.address}" if attempt.address else ""
    to += f" to port {attempt.port}" if attempt.port and not to else f", port {attempt.port}" if attempt.port else ""
    text = f"{attempt.client_host}{port},{to}"
    if (wish := attempt.wish) is not None:
        text += f", {wish.method or 'SOCKS5'} {_authority(wish)}{f' as {wish.user}' if wish.user else ''}"
    if sent is not None:
        text += f", TLS hello {f'for {sent.sni}' if sent.sni else 'without a server name'}"
        text += f", ALPN {', '.join(sent.alpn)}" if sent.alpn else ""
    return text


def _at(document: Document, path: tuple[str | int, ...]) -> str:
    mark = document.mark(path)
    return f" ({mark.file}:{mark.line})" if mark else ""


def _steps(title: str, steps: Sequence[Step]) -> list[str]:
    from ferryman.config.render import printable

    if not steps:
        return []
    widest, wide = max(len(step.outcome) for step in steps), max(len(step.where) for step in steps)
    lines = ["", click.style(title, bold=True)]
    for step in steps:
        outcome = click.style(f"{step.outcome:<{widest}}", **_COLOURS.get(step.outcome, {}))
        lines.append(f"  {outcome}  {step.where:<{wide}}  {printable(step.text)}")
        if step.outcome != "not reached":
            lines.append(f"{'':{widest + wide + 6}}{printable(step.why)}")
    return lines


def _end(told: Trace, document: Document) -> list[str]:
    backend, server = told.backend, told.server
    lines = []
    if backend is not None:
        path = (
            ("backends", backend.name) if ("backends", backend.name) in document.marks else ("listeners", backend.name)
        )
        how = "" if backend.destination else f", balance {backend.algorithm}"
        lines.append(_heading("backend", f"{backend.name}{how}{_at(document, path)}"))
    if told.explicit is not None:
        return _end_of_wish(told, told.explicit)
    if told.pages:
        lines.append(_heading("answer", "the stats page, by ferryman itself"))
    elif told.destination and backend is not None and backend.destination is not None:
        guarded = backend.destination.connect.egress_guard
        lines.append(_heading("target", told.destination + "; the guard looks at its addresses" * guarded))
    elif server is None or backend is None:
        lines.append(click.style("refused  ", bold=True, fg="red") + told.refused.removeprefix("refused "))
    elif told.takes_turns:
        lines.append(_heading("server", f"one of {len(told.candidates)}, by {backend.algorithm}:"))
        same = len({each.weight for each in told.candidates}) == 1
        lines += [f"{'':9}{_server(told, each)}{'' if same else f', weight {each.weight}'}" for each in told.candidates]
    else:
        lines.append(_heading("server", _server(told, server)))
        if backend.algorithm == "source" and len(told.candidates) > 1:
            lines.append(f"{'':9}always this one for {told.attempt.client_host}, as long as the same servers are up")
    return lines


def _end_of_wish(told: Trace, explicit: Explicit) -> list[str]:
    lines = []
    if explicit.depends:
        lines.append(_heading("depends", f"{explicit.depends}: say what they are with --resolved."))
        lines.append(f"{'':9}What follows holds if no rule is about them.")
    if explicit.guard and not explicit.refused:
        lines.append(_heading("guard", explicit.guard))
    if explicit.ways and told.attempt.wish is not None:
        lines.append(_heading("target", f"{_authority(told.attempt.wish)}, {explicit.ways}"))
    if explicit.action:
        lines.append(_heading("tls", explicit.action))
    if explicit.refused:
        reason = explicit.refused.removeprefix("refused ")
        status = f"{explicit.status}: " if explicit.status != 200 else ""
        lines.append(click.style("refused  ", bold=True, fg="red") + f"{status}{reason}")
    return lines


def _authority(wish: Wish) -> str:
    from ferryman.wire.authority import format_authority

    return format_authority(wish.host, wish.port)


def _server(told: Trace, server: Server) -> str:
    target = told.target_of(server)
    return target if server.name == target else f"{server.name} at {target}"


# as data


def _data(told: Trace) -> dict[str, Any]:
    return {
        "listener": told.listener.name if told.listener else None,
        "bound": str(told.local) if told.local else None,
        "sni": told.hello.sni if told.hello else None,
        "connection": [step._asdict() for step in told.connection],
        "inspect": [step._asdict() for step in told.inspect],
        "waited": told.waited,
        "routes": [step._asdict() for step in told.routes],
        "backend": told.backend.name if told.backend else None,
        "algorithm": told.backend.algorithm if told.backend else None,
        "server_rules": [step._asdict() for step in told.server_rules],
        "server": told.server.name if told.server else None,
        "address": told.target_of(told.server) if told.server else None,
        "destination": told.destination or None,
        "takes_turns": told.takes_turns,
        "candidates": [server.name for server in told.candidates],
        "pages": told.pages,
        "explicit": _explicit_data(told.explicit) if told.explicit else None,
        "refused": told.refused or None,
    }


def _explicit_data(explicit: Explicit) -> dict[str, Any]:
    return {
        "access": [step._asdict() for step in explicit.access],
        "via": [step._asdict() for step in explicit.via],
        "depends": explicit.depends or None,
        "ways": [[str(hop) for hop in way] for way in explicit.ways.chains] if explicit.ways else None,
        "guard": explicit.guard or None,
        "tls": [[step._asdict() for step in steps] for steps in explicit.tls],
        "action": explicit.action or None,
        "status": explicit.status,
    }
