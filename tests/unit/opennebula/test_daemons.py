"""Daemons as processes: which there are, how they end, and what they are told of the settings."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferryman.controlplane.identity import Identity
from ferryman.errors import StartError
from ferryman.opennebula import daemons, names

Pretend = Callable[..., "subprocess.Popen[bytes]"]
NAME = f"one_tproxy_t{os.getpid()}"


@pytest.fixture
def pretend() -> Iterator[Pretend]:
    """Start a process whose command line is a name, as a user, and wait until it is so."""
    processes = []

    def start(*before: str, name: str = NAME, first: str = "") -> subprocess.Popen[bytes]:
        command = [*before, "bash", "-c", f"{first} exec -a {name} cat"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.stdout.read(1) == b"x"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="daemons are root's")


@needs_root
def test_a_daemon_is_what_root_has_called_so(pretend: Pretend) -> None:
    """Not what somebody else has, whose process may be younger and would count in its place."""
    daemon = pretend()
    pretend("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
    pretend("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-root-user")
    pretend("unshare", "--pid", "--fork", "--kill-child")  # a container's
    pretend(name=f"x{NAME}")
    assert [pid for name, pid in daemons._processes() if name == NAME] == [daemon.pid]
    assert daemons.find()[NAME] == daemon.pid


@needs_root
def test_a_daemon_is_still_root_s_when_it_is_another_user(pretend: Pretend) -> None:
    """By the capabilities that it has kept."""
    kept = "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"
    daemon = pretend("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *kept)
    assert daemons.find()[NAME] == daemon.pid


def test_who_does_not_end_is_killed(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "PATIENCE", 0.2)
    gone = subprocess.Popen(["true"])
    gone.wait()
    stubborn, good = pretend(first="trap '' TERM;"), pretend()
    daemons._end([stubborn.pid, gone.pid, good.pid])
    assert (stubborn.wait(), good.wait()) == (-signal.SIGKILL, -signal.SIGTERM)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "published.conf"
    monkeypatch.setattr(names, "PUBLISHED", str(path))
    return path


ENTRY = ":tproxy:\n- :service_port: 5030\n  :remote_addr: 192.0.2.1\n  :remote_port: 5030\n"


def test_settings_are_for_the_daemons_and_nobody_else(tmp_path: Path, published: Path) -> None:
    """There may be passwords in them."""
    file = tmp_path / "network.conf"
    file.write_text(ENTRY)
    messages, user = daemons._publish(str(file))
    assert messages == []
    assert published.read_text() == ENTRY
    there = published.stat()
    assert stat.S_IMODE(there.st_mode) == 0o600
    if os.geteuid() == 0:
        assert there.st_uid == user.uid


@pytest.mark.parametrize("broken", ["", ":tproxy: 3\n", ":tproxy: [\n", None])
def test_settings_that_are_wrong_or_gone_publish_nothing(tmp_path: Path, published: Path, broken: str | None) -> None:
    published.write_text(ENTRY)
    file = tmp_path / "network.conf"
    if broken is not None:
        file.write_text(broken)
    messages, _ = daemons._publish(str(file))
    assert published.read_text() == ENTRY
    assert bool(messages) == bool(broken)


def test_a_user_that_does_not_exist_is_told_with_its_place(tmp_path: Path, published: Path) -> None:
    file = tmp_path / "network.conf"
    file.write_text(f"{ENTRY}:tproxy_process_owner: martian\n")
    with pytest.raises(StartError, match=r"network.conf: user martian does not exist .* `:tproxy_process_owner:`"):
        daemons._publish(str(file))
    assert not published.exists()


def test_nothing_is_written_through_a_link(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    Path(f"{published}.new").symlink_to(victim)
    daemons._write(str(published), ENTRY, Identity())
    monkeypatch.setattr(names, "log", lambda name: str(tmp_path / f"{name}.log"))
    (tmp_path / "one_tproxy.log").symlink_to(victim)
    with pytest.raises(StartError, match="cannot write"):
        daemons._log_file("one_tproxy", Identity())
    assert victim.read_text() == "mine"
    assert published.read_text() == ENTRY
