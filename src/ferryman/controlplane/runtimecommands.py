"""The commands of the runtime socket: a table of words, level and function; their texts are those of HAProxy 2.6.

Called by runtime with the words of one command. Changes things only through runtime.Operator. An answer is text that
ends in a newline, or "" where HAProxy says nothing; a mistake is an answer too.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from ferryman.controlplane import runtimetexts, snapshot, statscsv
from ferryman.plan import Server

if TYPE_CHECKING:
    from ferryman.controlplane.runtime import Operator


class Level(enum.IntEnum):
    USER = 0
    OPERATOR = 1
    ADMIN = 2


class RefusedError(Exception):
    """A command cannot be done; the text is the answer."""


class Console:
    """One client's connection: who it is, and what it made of its session."""

    def __init__(self, operator: Operator, level: Level, timeout: float) -> None:
        self.operator = operator
        self.level = level
        self.timeout = timeout  # seconds
        self.interactive = False
        self.ended = False

    async def run(self, words: Sequence[str]) -> str:
        """Do one command; its answer."""
        command = find(words)
        if command is None:
            return unknown(words, self.level)
        if command.level > self.level:
            return "Permission denied\n"
        try:
            return await command.function(self, words[len(command.words) :])
        except RefusedError as refusal:
            return f"{refusal}\n"

    def server(self, words: Sequence[str]) -> Server:
        """The server that "backend/server" names."""
        backend_name, slash, name = (words[0] if words else "").partition("/")
        if not slash or not name:
            raise RefusedError("Require 'backend/server'.")
        backend = self.operator.view().plan.backend(backend_name)
        if backend is None:
            raise RefusedError("No such backend.")
        for server in backend.servers:
            if server.name == name:
                return server
        raise RefusedError("No such server.")


Function = Callable[[Console, Sequence[str]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[str, ...]
    usage: str
    text: str
    level: Level
    function: Function


async def show_info(console: Console, words: Sequence[str]) -> str:
    fields = runtimetexts.information(snapshot.take(console.operator.view()))
    if "json" in words:
        return json.dumps([field.as_json() for field in fields], separators=(",", ":")) + "\n"
    return "".join(f"{field.typed() if 'typed' in words else field.plain()}\n" for field in fields)


async def show_stat(console: Console, words: Sequence[str]) -> str:
    shown = snapshot.take(console.operator.view())
    table = statscsv.rows(shown, addresses=True)
    if len(words) >= 3:
        table = _filtered(table, *words[:3])
    if "up" in words:
        table = [row for row in table if row.running]
    if "no-maint" in words:
        table = [row for row in table if row.values["status"] != "MAINT"]
    if "json" in words:
        return statscsv.to_json(table) + "\n"
    return statscsv.to_typed(table) if "typed" in words else statscsv.to_csv(table)


def _filtered(table: Sequence[statscsv.Row], proxy: str, types: str, number: str) -> list[statscsv.Row]:
    """`show stat <iid>|<proxy> <type> <sid>`: types is a sum of 1 frontend, 2 backend, 4 server; -1 is everything."""
    wanted, sid = _integer(types), _integer(number)
    bits: dict[statscsv.ObjectType, int] = {"Frontend": 1, "Backend": 2, "Server": 4}
    if not proxy.removeprefix("-").isdecimal() and all(row.proxy != proxy for row in table):
        raise RefusedError("No such proxy.")
    return [
        row
        for row in table
        if (proxy in (row.proxy, str(row.proxy_id)) or _integer(proxy) == -1)
        and bits[row.object_type] & wanted
        and sid in (-1, row.id)
    ]


def _integer(text: str) -> int:
    """As HAProxy reads numbers here: what is none is 0."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else 0


async def show_servers_state(console: Console, words: Sequence[str]) -> str:
    shown = snapshot.take(console.operator.view())
    backends = [row for row in shown.backends if not words or words[0] in (row.name, str(row.proxy_id))]
    if words and not backends:
        raise RefusedError("Can't find backend.")
    return runtimetexts.servers_state(backends)


async def show_backend(console: Console, words: Sequence[str]) -> str:
    return "".join(f"{name}\n" for name in ("# name", *(one.name for one in console.operator.view().plan.backends)))


async def show_sess(console: Console, words: Sequence[str]) -> str:
    sessions = await console.operator.sessions()
    if words and words[0] != "all":
        sessions = [session for session in sessions if session["id"] == _session_id(words[0])]
        if not sessions:
            raise RefusedError("Session not found.")
    return "".join(runtimetexts.session(session) for session in sessions)


def _session_id(text: str) -> int:
    """Hexadecimal, as `show sess` prints it; 0, which no session has, for anything else."""
    digits = text.lower().removeprefix("0x")
    return int(digits, 16) if re.fullmatch("[0-9a-f]{1,16}", digits) else 0


async def show_version(console: Console, words: Sequence[str]) -> str:
    return f"{console.operator.view().version}\n"


async def show_cli_level(console: Console, words: Sequence[str]) -> str:
    return f"{console.level.name.lower()}\n"


async def disable_server(console: Console, words: Sequence[str]) -> str:
    console.operator.set_admin(console.server(words).id, "maint")
    return ""


async def enable_server(console: Console, words: Sequence[str]) -> str:
    server = console.server(words)
    if console.operator.view().states[server.id].admin == "maint":
        console.operator.set_admin(server.id, "ready")
    return ""


async def set_server(console: Console, words: Sequence[str]) -> str:
    server = console.server(words)
    match list(words[1:3]):
        case ["state", "ready" | "drain" | "maint" as admin]:
            console.operator.set_admin(server.id, admin)
        case ["state", *_]:
            raise RefusedError("'set server <srv> state' expects 'ready', 'drain' and 'maint'.")
        case ["weight", *rest]:
            console.operator.set_weight(server.id, _weight(server, rest))
        case _:
            raise RefusedError("usage: set server <backend>/<server> state | weight")
    return ""


async def set_weight(console: Console, words: Sequence[str]) -> str:
    server = console.server(words)
    console.operator.set_weight(server.id, _weight(server, words[1:]))
    return ""


def _weight(server: Server, words: Sequence[str]) -> int:
    """A weight from 0 to 256, or so many percent of the configured one."""
    if not words:
        raise RefusedError("Require <weight> or <weight%>.")
    text = words[0].removesuffix("%")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal():
        raise RefusedError("Empty weight string empty or preceded by garbage")
    value = max(min(int(text[:10]), 10**9), -1)
    if words[0] == text:
        if not 0 <= value <= 256:
            raise RefusedError("Absolute weight can only be between 0 and 256 inclusive.")
        return value
    if value < 0:
        raise RefusedError("Relative weight must be positive.")
    return min(server.weight * value // 100, 256)


async def get_weight(console: Console, words: Sequence[str]) -> str:
    server = console.server(words)
    return f"{console.operator.view().states[server.id].weight} (initial {server.weight})\n"


async def shutdown_session(console: Console, words: Sequence[str]) -> str:
    if not words:
        raise RefusedError("Session pointer expected (use 'show sess').")
    if not await console.operator.kill([_session_id(words[0])]):
        raise RefusedError("No such session (use 'show sess').")
    return ""


async def shutdown_sessions_server(console: Console, words: Sequence[str]) -> str:
    server = console.server(words)
    place = (server.backend, server.name)
    sessions = await console.operator.sessions()
    await console.operator.kill([one["id"] for one in sessions if (one["backend"], one["server"]) == place])
    return ""


async def clear_counters(console: Console, words: Sequence[str]) -> str:
    if words and words[0] == "all":
        if console.level < Level.ADMIN:
            raise RefusedError("Permission denied")
        console.operator.clear_counters()
    else:
        console.operator.clear_maxima()
    return ""


async def set_timeout_cli(console: Console, words: Sequence[str]) -> str:
    if not words or not 0 < _integer(words[0].removesuffix("s")) <= 86400:
        raise RefusedError("Invalid timeout value.")
    console.timeout = float(_integer(words[0].removesuffix("s")))
    return ""


async def lower_to_operator(console: Console, words: Sequence[str]) -> str:
    console.level = min(console.level, Level.OPERATOR)
    return ""


async def lower_to_user(console: Console, words: Sequence[str]) -> str:
    console.level = Level.USER
    return ""


async def help_(console: Console, words: Sequence[str]) -> str:
    commands = matching(words, console.level) if words else allowed(console.level)
    return "The following commands are valid at this level:\n" + listing(commands)


async def prompt(console: Console, words: Sequence[str]) -> str:
    console.interactive = not console.interactive
    return ""


async def quit_(console: Console, words: Sequence[str]) -> str:
    console.ended = True
    return ""


def _command(usage: str, text: str, level: Level, function: Function) -> Command:
    words = tuple(word for word in usage.split() if word[0] not in "<[")
    return Command(words, usage, text, level, function)


COMMANDS: Final = (
    _command("clear counters [all]", "start peaks again (all: every counter)", Level.OPERATOR, clear_counters),
    _command("disable server <bk>/<srv>", "take a server out (maintenance)", Level.ADMIN, disable_server),
    _command("enable server <bk>/<srv>", "bring it back", Level.ADMIN, enable_server),
    _command("get weight <bk>/<srv>", "a server's weight now and as configured", Level.USER, get_weight),
    _command("operator", "go down to level operator", Level.USER, lower_to_operator),
    _command("set server <bk>/<srv> [opts]", "state ready|drain|maint, or weight", Level.ADMIN, set_server),
    _command("set timeout cli <delay>", "seconds this connection may be idle", Level.USER, set_timeout_cli),
    _command("set weight <bk>/<srv> <weight>", "a server's weight, 0 to 256 or a percentage", Level.ADMIN, set_weight),
    _command("show backend", "names of the backends", Level.USER, show_backend),
    _command("show cli level", "level of this connection", Level.USER, show_cli_level),
    _command("show info [json|typed]", "the process", Level.USER, show_info),
    _command("show servers state [<backend>]", "states of servers, one a line", Level.USER, show_servers_state),
    _command("show sess [<id>]", "connections that are open", Level.OPERATOR, show_sess),
    _command("show stat [<id> <type> <sid>] [json|no-maint|typed|up]", "counters and states", Level.USER, show_stat),
    _command("show version", "version of this program", Level.USER, show_version),
    _command("shutdown session <id>", "end a connection", Level.ADMIN, shutdown_session),
    _command("shutdown sessions server <bk>/<srv>", "end those of a server", Level.ADMIN, shutdown_sessions_server),
    _command("user", "go down to level user", Level.USER, lower_to_user),
    _command("help [<command>]", "commands, or those like this one", Level.USER, help_),
    _command("prompt", "stay connected and prompt, or not", Level.USER, prompt),
    _command("quit", "disconnect", Level.USER, quit_),
)
ALWAYS_LISTED: Final = 3  # the last of them

NOT_HERE: Final = {
    "abort": "ssl",
    "add": "acl map server ssl",
    "clear": "acl map table",
    "commit": "acl map ssl",
    "del": "acl map server ssl",
    "disable": "agent dynamic-cookie frontend health",
    "enable": "agent dynamic-cookie frontend health",
    "get": "acl map var",
    "new": "ssl",
    "prepare": "acl map",
    "set": "dynamic-cookie-key map maxconn profiling rate-limit severity-output ssl table var",
    "show": "acl activity cache env errors events fd libs map peers pools profiling resolvers schema ssl startup-logs "
    "table tasks threads tls-keys trace",
    "shutdown": "frontend",
}
"""Commands of HAProxy that ferryman has not, so that they are not called unknown."""


def find(words: Sequence[str]) -> Command | None:
    for command in COMMANDS:
        if tuple(words[: len(command.words)]) == command.words:
            return command
    return None


def allowed(level: Level) -> list[Command]:
    return [command for command in COMMANDS if command.level <= level]


def matching(words: Sequence[str], level: Level) -> list[Command]:
    """Commands that begin alike, else those that look alike, and the three that help everybody."""
    candidates = allowed(level)
    lowered = [word.lower() for word in words]
    alike = [command for command in candidates if list(command.words[: len(lowered)]) == lowered]
    if not alike and lowered:
        names = get_close_matches(" ".join(lowered[:3])[:80], [" ".join(one.words) for one in candidates], n=5)
        alike = [command for command in candidates if " ".join(command.words) in names]
        alike = alike or [command for command in candidates if command.words[0] == lowered[0]]
    return [*(command for command in alike if command not in COMMANDS[-ALWAYS_LISTED:]), *COMMANDS[-ALWAYS_LISTED:]]


def listing(commands: Sequence[Command]) -> str:
    return "".join(f"  {command.usage:<40}: {command.text}\n" for command in commands)


def unknown(words: Sequence[str], level: Level) -> str:
    """What is not understood is answered with what would be."""
    if len(words) > 1 and words[1] in NOT_HERE.get(words[0], "").split():
        return f"'{words[0]} {words[1]}' is a command of HAProxy that ferryman does not have.\n"
    commands = matching(words, level)
    if len(commands) > ALWAYS_LISTED:
        return "Unknown command, but maybe one of the following ones is a better match:\n" + listing(commands)
    return "Unknown command. Please enter one of the following commands only:\n" + listing(allowed(level))
