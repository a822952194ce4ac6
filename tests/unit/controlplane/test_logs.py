"""Targets that are there, missing, rotated or come back; and what the supervisor says, word for word as HAProxy."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_client import ask

from ferryman.controlplane import logs
from ferryman.controlplane.logs import Journal, LogFiles, open_target
from ferryman.controlplane.serverstate import ServerState
from ferryman.controlplane.totals import Totals
from ferryman.dataplane.counters import WIDTH, Cell
from ferryman.dataplane.syslog import Sink
from ferryman.plan import Address, Check, LogTarget, Server


def target(kind: str, address: str | Path = "", **fields: object) -> LogTarget:
    fields = {"format": "raw", **fields}
    return LogTarget(0, kind, str(address), **fields)  # type: ignore[arg-type]


@contextlib.contextmanager
def datagrams(path: Path | None = None) -> Iterator[socket.socket]:
    """A syslog server: on UDP, or at a path."""
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path) if path else ("127.0.0.1", 0))
        sock.settimeout(60)
        yield sock


def say(descriptor: int, where: LogTarget, text: str) -> None:
    """As a worker does, with a duplicate."""
    sink = Sink(where, os.dup(descriptor), 1)
    sink.emit("info", text)
    sink.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at missing targets every time."""
    monkeypatch.setattr(logs, "RETRY", 0.0)
    monkeypatch.setattr(logs, "RETRY_MAX", 0.0)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def files(told: list[str]) -> Iterator[LogFiles]:
    made = LogFiles(lambda level, text: told.append(f"{level}: {text}"))
    yield made
    made.close()


# targets


def test_udp_by_address_and_by_name(files: LogFiles) -> None:
    with datagrams() as receiver:
        port = receiver.getsockname()[1]
        targets = [target("udp", host, port=port) for host in ("127.0.0.1", "localhost")]
        files.follow(targets[:1])
        say(files.descriptors[0], targets[0], "by address")
        assert receiver.recv(100) == b"by address\n"
        assert not os.get_blocking(files.descriptors[0])


def test_a_file_is_made_private_and_appended_to(tmp_path: Path, files: LogFiles) -> None:
    path = tmp_path / "log"
    files.follow([target("file", path)])
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()
    say(files.descriptors[0], target("file", path), "one")
    say(files.descriptors[0], target("file", path), "two")
    assert path.read_text() == "one\ntwo\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.usefixtures("quick")
def test_a_rotated_file_is_made_anew_without_being_told(tmp_path: Path, files: LogFiles) -> None:
    path = tmp_path / "log"
    where = target("file", path)
    files.follow([where])
    assert not files.refresh()
    path.rename(tmp_path / "log.1")
    assert files.refresh()
    assert not files.refresh()
    say(files.descriptors[0], where, "new")
    assert (tmp_path / "log.1").read_text() == ""
    assert path.read_text() == "new\n"


def test_a_reload_opens_files_anew_and_keeps_the_rest(tmp_path: Path, files: LogFiles) -> None:
    with datagrams() as receiver:
        wanted = [target("udp", "127.0.0.1", port=receiver.getsockname()[1]), target("file", tmp_path / "log")]
        files.follow(wanted)
        udp = files.descriptors[0]
        (tmp_path / "log").unlink()
        files.follow([wanted[1], wanted[0]])
        assert files.descriptors[1] == udp
        assert (tmp_path / "log").exists()
        files.follow([])
        assert files.descriptors == []
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(udp)


@pytest.mark.usefixtures("quick")
def test_a_missing_socket_is_said_once_and_used_when_it_comes(tmp_path: Path, files: LogFiles, told: list[str]) -> None:
    path = tmp_path / "log"
    where = target("unix", path)
    files.follow([where])
    assert told == [
        f"warning: log target unix:{path}: No such file or directory; lines to it are lost, it is tried again"
    ]
    say(files.descriptors[0], where, "lost")
    assert not files.refresh()
    with datagrams(path) as receiver:
        assert files.refresh()
        assert told[1:] == [f"notice: log target unix:{path} is there now"]
        say(files.descriptors[0], where, "here")
        assert receiver.recv(100) == b"here\n"
    path.unlink()
    assert not files.refresh(), "without a server there is nothing to change to"
    with datagrams(path) as receiver:
        assert files.refresh(), "a restarted server has a new socket"
        say(files.descriptors[0], where, "again")
        assert receiver.recv(100) == b"again\n"
    assert len(told) == 2


def test_targets_are_not_looked_at_all_the_time(tmp_path: Path, files: LogFiles) -> None:
    files.follow([target("unix", tmp_path / "log")])
    with datagrams(tmp_path / "log"):
        assert not files.refresh(), "only after some seconds"


@pytest.mark.usefixtures("quick")
def test_an_unknown_host_is_no_reason_not_to_start(files: LogFiles, told: list[str]) -> None:
    files.follow([target("udp", "no..host", port=514)])
    assert len(told) == 1
    assert told[0].startswith("warning: log target udp:no..host:514: ")


def test_standard_output_gets_a_description_of_its_own(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out:
        descriptor = open_target(target("fd", str(out.fileno())))
        assert not os.get_blocking(descriptor)
        assert os.get_blocking(out.fileno()), "whoever gave us theirs must not notice"
        os.write(descriptor, b"one\n")
        os.close(descriptor)
        assert out.read() == "one\n"


def test_a_socket_on_standard_output_is_duplicated() -> None:
    left, right = socket.socketpair()
    with left, right:
        where = target("fd", str(left.fileno()))
        descriptor = open_target(where)
        say(descriptor, where, "one")
        os.close(descriptor)
        assert right.recv(100) == b"one\n"


def test_a_closed_descriptor_is_missing(files: LogFiles, told: list[str]) -> None:
    files.follow([target("fd", "99999")])
    assert told == ["warning: log target fd@99999: Bad file descriptor; lines to it are lost, it is tried again"]
    say(files.descriptors[0], target("fd", "99999"), "lost")


# messages


def journal(path: Path, foreground: bool = False) -> Journal:
    return Journal([target("file", path, format="short")], foreground)


def test_messages_have_their_levels(tmp_path: Path) -> None:
    made = journal(tmp_path / "log")
    for speak in (made.emerg, made.alert, made.warning, made.notice):
        speak("text")
    made.close()
    assert (tmp_path / "log").read_text() == "<0>text\n<1>text\n<4>text\n<5>text\n"


def test_in_the_foreground_messages_are_on_stderr_for_people(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = journal(tmp_path / "log", foreground=True)
    made.warning("look\nhere")
    made.close()
    out, err = capfd.readouterr()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d warning: look here\n", err)
    assert (out, (tmp_path / "log").read_text()) == ("", "<4>look here\n")


@pytest.mark.parametrize(
    ("where", "foreground", "out", "err"),
    [
        (target("stdout"), True, "", "DATE notice: text\n"),
        (target("stdout"), False, "text\n", ""),
        (target("stdout", format="short"), True, "<5>text\n", "DATE notice: text\n"),
        (target("stderr", format="short"), True, "", "<5>text\n"),
        (target("fd", "2"), True, "", "text\n"),
    ],
)
def test_nothing_is_said_twice_and_raw_stdout_is_left_to_access_lines(
    where: LogTarget, foreground: bool, out: str, err: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Journal([where], foreground)
    made.notice("text")
    made.close()
    captured = capfd.readouterr()
    assert (captured.out, re.sub(r"[\d-]{10} [\d:]{8}", "DATE", captured.err)) == (out, err)


def test_missing_targets_are_told_to_those_that_are_there(tmp_path: Path) -> None:
    made = Journal([target("file", tmp_path / "log"), target("unix", tmp_path / "none")], foreground=False)
    made.close()
    assert "none: No such file or directory" in (tmp_path / "log").read_text()


@pytest.mark.usefixtures("quick")
def test_the_journals_own_file_may_be_rotated(tmp_path: Path) -> None:
    made = journal(tmp_path / "log")
    made.notice("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    made.notice("two")
    made.follow([target("file", tmp_path / "other")])
    made.notice("three")
    made.close()
    read = [(tmp_path / name).read_text() for name in ("log.1", "log", "other")]
    assert read == ["<5>one\n", "<5>two\n", "three\n"]


# servers


SCRIPT = """
global
  log 127.0.0.1:{port} len 4096 format short local0
  stats socket {folder}/admin.sock level admin
defaults
  log global
  mode tcp
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend fe
  bind unix@{folder}/fe
  default_backend be
backend be
  {option}
  server s1 127.0.0.1:{closed} check inter 30s fastinter 100ms downinter 100ms
  server s2 127.0.0.1:{open} backup
"""


class Reference:
    """HAProxy that logs about two servers: s1, which refuses and is checked, and s2, a backup."""

    def __init__(self, folder: Path, sink: socket.socket, refusing: socket.socket) -> None:
        self.folder, self.sink, self.refusing = folder, sink, refusing

    def says(self, command: str = "") -> str:
        """The next message, once it was told to do something."""
        if command:
            ask(self.folder / "admin.sock", command + "\n")
        return self.sink.recv(4096).decode()


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Callable[[str], Reference]]:
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed")
    with datagrams() as sink, socket.socket() as closed, contextlib.ExitStack() as stack:
        closed.bind(("127.0.0.1", 0))

        def start(option: str) -> Reference:
            text = SCRIPT.format(
                port=sink.getsockname()[1], folder=tmp_path, option=option, closed=closed.getsockname()[1], open=1
            )
            (tmp_path / "haproxy.cfg").write_text(text)
            process = subprocess.Popen([haproxy, "-db", "-f", str(tmp_path / "haproxy.cfg")], stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return Reference(tmp_path, sink, closed)

        yield start


def timeless(text: str) -> str:
    return re.sub(r"\d+ms", "Nms", text)


class Told:
    """A journal and the two servers it is told about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = journal(path)
        servers = [
            Server(0, "s1", "be", Address("inet", "127.0.0.1", 1), check=Check()),
            Server(1, "s2", "be", Address("inet", "127.0.0.1", 2), backup=True),
        ]
        self.members = [ServerState.new(server) for server in servers]
        self.totals: Totals = {("server", "be", "s1"): [0] * WIDTH, ("backend", "be", ""): [0] * WIDTH}
        self._read = 0

    def says(self, number: int, **changes: object) -> str:
        """What is said when this becomes so."""
        state = self.members[number]
        for name, value in changes.items():
            setattr(state, name, value)
        if "check_status" in changes:
            self.journal.check_result(state)
        self.journal.server_changed(state, self.members, self.totals)
        text = self.path.read_text()[self._read :]
        self._read += len(text)
        return text


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path / "journal")
    yield made
    made.journal.close()


def test_what_is_said_of_servers_is_haproxys_own(ours: Told, reference: Callable[[str], Reference]) -> None:
    haproxy = reference("")
    refused = {"check_status": "L4CON", "check_description": "Connection refused", "check_ms": 1, "checks_failed": 1}
    nobody_left = "<0>backend be has no server available!\n"

    def same(number: int, command: str = "", **changes: object) -> None:
        assert timeless(ours.says(number, **changes)) == timeless(haproxy.says(command))

    same(0, health=0, **refused)
    same(0, "disable server be/s1", admin="maint")
    same(0, "enable server be/s1", admin="ready", health=2)
    same(0, health=0, **refused)
    haproxy.refusing.listen()
    same(0, health=4, check_status="L4OK", check_description="")
    same(0, "disable server be/s1", admin="maint")
    same(1, "disable server be/s2", admin="maint")
    assert haproxy.says() == nobody_left
    same(1, "enable server be/s2", admin="ready")
    same(1, "set server be/s2 state drain", admin="drain")
    assert haproxy.says() == nobody_left
    same(1, "set server be/s2 state ready", admin="ready")


def test_what_is_said_of_checks_is_haproxys_own(ours: Told, reference: Callable[[str], Reference]) -> None:
    haproxy = reference("option log-health-checks")
    first = haproxy.says()
    # the same state, as news that did not change it: a check that failed in another way before
    ours.says(0, health=0, check_status="L4TOUT", checks_failed=1)
    said = ours.says(0, check_status="L4CON", check_description="Connection refused", check_ms=0)
    assert timeless(said) == timeless(first)


def test_up_again_and_the_numbers_in_it(ours: Told) -> None:
    ours.totals["server", "be", "s1"][Cell.SESSIONS_NOW] = 5
    ours.totals["backend", "be", ""][Cell.QUEUE_NOW] = 2
    assert ours.says(0, health=0, check_status="L4TOUT", check_ms=2001, checks_failed=3) == (
        "<1>Server be/s1 is DOWN, reason: Layer4 timeout, check duration: 2001ms. 0 active and 1 backup servers left. "
        "Running on backup. 5 sessions active, 0 requeued, 2 remaining in queue.\n"
    )
    assert ours.says(0, health=1, check_status="L4OK", check_ms=0) == (
        "<5>Health check for server be/s1 succeeded, reason: Layer4 check passed, check duration: 0ms, "
        "status: 1/2 DOWN.\n"
    )
    assert ours.says(0, health=4, check_status="L4OK") == (
        "<5>Server be/s1 is UP, reason: Layer4 check passed, check duration: 0ms. "
        "1 active and 1 backup servers online. 0 sessions requeued, 2 total in queue.\n"
    )
    assert ours.says(0, health=3, check_status="L4CON", check_description="Connection refused") == (
        '<5>Health check for server be/s1 failed, reason: Layer4 connection problem, info: "Connection refused", '
        "check duration: 0ms, status: 2/3 UP.\n"
    )


def test_nothing_is_said_of_a_server_that_is_well(ours: Told) -> None:
    assert ours.says(0, health=4, check_status="L4OK", check_ms=0) == ""


def test_a_server_that_starts_in_maintenance_is_no_news(tmp_path: Path) -> None:
    told = Told(tmp_path / "journal")
    state = told.members[1]
    state.server = replace(state.server, disabled=True)
    assert told.says(1, admin="maint") == ""
    assert told.says(1, admin="ready") == "<5>Backup Server be/s2 is UP/READY (leaving forced maintenance).\n"
    told.journal.close()


def test_without_numbers_none_are_made_up(ours: Told) -> None:
    state = ours.members[0]
    state.health = 0
    ours.journal.server_changed(state, ours.members)
    assert ours.path.read_text().endswith(
        "Server be/s1 is DOWN. 0 active and 1 backup servers left. Running on backup.\n"
    )
