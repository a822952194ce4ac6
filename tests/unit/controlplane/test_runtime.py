"""The runtime socket as a line: commands in, answers out, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import StillView, shop
from runtime_client import ask

from ferryman.controlplane.runtime import MAX_LINE, RuntimeServer, split_commands, split_words


@contextlib.contextmanager
def serving(path: Path, view: StillView | RuntimeServer, level: str = "admin") -> Iterator[Path]:
    """A runtime socket at `path`, in an event loop of its own."""
    runtime = view if isinstance(view, RuntimeServer) else RuntimeServer(view, 60.0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_unix_server(runtime.handler(level), path)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    try:
        yield path
    finally:

        async def stop() -> None:
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with serving(tmp_path / "admin.sock", StillView(shop())) as path:
        yield path


def test_an_answer_ends_with_an_empty_line_and_the_connection_closes(path: Path) -> None:
    assert ask(path, "show version\n") == "9.8.7\n\n"


def test_a_line_may_lack_its_end(path: Path) -> None:
    assert ask(path, "show version") == "9.8.7\n\n"


def test_only_the_first_line_counts(path: Path) -> None:
    assert ask(path, "show version\nshow version\n") == "9.8.7\n\n"


def test_commands_are_separated_by_semicolons(path: Path) -> None:
    assert ask(path, "show version; show cli level;\n") == "9.8.7\n\nadmin\n\n"


def test_prompt_stays_and_quit_goes(path: Path) -> None:
    lines = "prompt\nshow version\nshow cli level\nquit\nshow version\n"
    assert ask(path, lines) == "\n> 9.8.7\n\n> admin\n\n> "


def test_the_same_dialogue_with_haproxy(path: Path, haproxy: Path) -> None:
    for text in (
        "prompt\nshow cli level\nquit\n",
        "show cli level;operator;show cli level\n",
        "quit\n",
        "prompt\nprompt\n",
    ):
        assert ask(path, text) == ask(haproxy / "admin.sock", text), text


def test_levels_only_go_down(tmp_path: Path) -> None:
    view = StillView(shop())
    with serving(tmp_path / "s", view, "operator") as path:
        assert (
            ask(path, "show cli level;user;show cli level;operator;show cli level\n")
            == "operator\n\n\nuser\n\n\nuser\n\n"
        )
        assert ask(path, "disable server app/a1\n") == "Permission denied\n\n"
        assert view.states[0].admin == "ready"


@pytest.mark.parametrize(
    "command",
    [
        *("show sess", "clear counters", "clear counters all", "disable server app/a1", "enable server app/a1"),
        *("set server app/a1 state drain", "set weight app/a1 1", "get weight app/a1", "shutdown session 0x1"),
        *("shutdown sessions server app/a1", "show servers state app", "show backend", "show info", "show stat"),
    ],
)
@pytest.mark.parametrize("level", ["user", "operator"])
def test_levels_are_haproxys(tmp_path: Path, haproxy: Path, level: str, command: str) -> None:
    theirs = ask(haproxy / "admin.sock", f"{level};{command}\n")
    with serving(tmp_path / "s", StillView(shop())) as path:
        mine = ask(path, f"{level};{command}\n")
    assert ("Permission denied" in mine) == ("Permission denied" in theirs)


def test_a_line_that_never_ends_is_cut_off(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))

        def send_for_ever() -> None:
            while True:
                client.sendall(b"x" * 4096)

        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_for_ever()


def test_a_long_line_is_no_command(path: Path) -> None:
    assert ask(path, "show version;" * 10 + "\n").count("9.8.7") == 10
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert ask(path, "show version;" * (MAX_LINE // 8) + "\n") == ""


def test_a_silent_client_is_let_go(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "s", RuntimeServer(StillView(shop()), 0.05)) as path,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.settimeout(60)
        client.connect(str(path))
        assert client.recv(100) == b""


def test_a_client_that_does_not_take_its_answer_is_let_go(tmp_path: Path) -> None:
    runtime = RuntimeServer(StillView(shop()), 0.2)
    with serving(tmp_path / "s", runtime) as path, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # that is how the peer's end shows
            client.sendall(b"show stat;" * 1000 + b"\n")
            while True:
                client.sendall(b"x")
        runtime.timeout = 60.0
        assert ask(path, "show version\n") == "9.8.7\n\n"


def test_the_timeout_can_be_changed(tmp_path: Path) -> None:
    with serving(tmp_path / "s", StillView(shop())) as path:
        assert ask(path, "set timeout cli 60\n") == "\n"
        assert ask(path, "set timeout cli x\n") == "Invalid timeout value.\n\n"


def test_splitting() -> None:
    assert split_commands("") == [""]
    assert split_commands("a;;b ; ") == ["a", "", "b "]
    assert split_commands(r"a\;b;c\\;d") == [r"a\;b", r"c\\", "d"]
    assert split_words(r" a\ b  c\\ \;	d ") == ["a b", "c\\", ";", "d"]
    assert split_words("\\") == [""]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_characters=";\\ \t\n"), min_size=1), min_size=1))
def test_what_is_joined_is_split_again(words: list[str]) -> None:
    assert split_words(" ".join(words)) == words
    assert split_commands(";".join(words)) == (words if words[-1].strip() else words[:-1] or words)
