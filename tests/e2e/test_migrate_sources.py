"""What may happen at the source while it is read, several volumes at once, flags, and the daemons that MTC makes."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import squid
import trees
from ferry import free_port, until
from migrating import Migrating, used
from pki import Pki
from programs import Peer, program, stunnel


@pytest.fixture
def end() -> Iterator[ExitStack]:
    program("rsync")
    with ExitStack() as stack:
        yield stack


def migrate(folder: Path, end: ExitStack, *arguments: str, environment: dict[str, str] | None = None) -> Migrating:
    running = Migrating(folder / "here", "migrate", *arguments, environment=environment)
    end.callback(running.close)
    return running


def test_files_that_vanish_while_they_are_read(tmp_path: Path, end: ExitStack) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number in range(8):
        (source / f"{number}").write_bytes(os.urandom(1_000_000))
    running = migrate(tmp_path, end, str(source), str(target), "--bwlimit", "1m")
    until(lambda: used(target) > 500_000 or running.process.poll() is not None, "it to begin")
    (source / "7").unlink()
    assert running.wait() == 0, running.said
    assert "vanished" in running.said
    trees.assert_same(source, target)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, end: ExitStack) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "database").write_bytes(os.urandom(3_000_000))
    (source / "still").write_bytes(os.urandom(100_000))
    running = migrate(tmp_path, end, str(source), str(target), "--bwlimit", "1m")
    stop = threading.Event()

    def change() -> None:
        with open(source / "database", "r+b") as file:
            while not stop.wait(0.02):
                file.seek(0)
                file.write(os.urandom(3_000_000))
                file.flush()

    changing = threading.Thread(target=change)
    until(lambda: used(target) > 300_000 or running.process.poll() is not None, "it to begin")
    changing.start()
    until(lambda: running.process.poll() is not None, "it to end")
    stop.set()
    changing.join()
    assert running.wait() == 1, running.said
    assert "1 file was changed even then, and may be half old, half new: database" in running.out
    assert "stop what writes to them" in running.err
    assert (target / "still").read_bytes() == (source / "still").read_bytes()
    again = migrate(tmp_path, end, str(source), str(target), "--checksum")
    assert again.wait() == 0, again.said
    trees.assert_same(source, target)


def test_a_file_that_was_changed_once_is_read_again(tmp_path: Path, end: ExitStack) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "database").write_bytes(os.urandom(3_000_000))
    running = migrate(tmp_path, end, str(source), str(target), "--bwlimit", "1m", "--exclude", "/left-out")
    until(lambda: used(target) > 1_000_000 or running.process.poll() is not None, "it to be half way")
    with open(source / "database", "r+b") as file:
        file.write(os.urandom(1000))  # what was read already
    assert running.wait() == 0, running.said
    assert "1 file was changed while being moved, and read once more" in running.out
    trees.assert_same(source, target)


def test_several_volumes_at_once(tmp_path: Path, end: ExitStack) -> None:
    for name in ("data", "logs", "third"):
        (tmp_path / name).mkdir()
        for number in range(20):
            (tmp_path / name / str(number)).write_bytes(os.urandom(20_000))
    sources = [f"one={tmp_path / 'data'}", str(tmp_path / "logs"), str(tmp_path / "third")]
    running = migrate(tmp_path, end, *sources, str(tmp_path / "target"), "--json", "--checksum", "--parallel", "2")
    assert running.wait() == 0, running.said
    for name, source in (("one", "data"), ("logs", "logs"), ("third", "third")):
        trees.assert_same(tmp_path / source, tmp_path / "target" / name)
    [report] = running.events("end")
    assert report["code"] == 0
    assert {one["name"]: (one["state"], one["files_moved"], one["different"]) for one in report["volumes"]} == {
        "one": ("done", 20, 0), "logs": ("done", 20, 0), "third": ("done", 20, 0),
    }  # fmt: skip
    assert not running.err


def test_flags_do_what_they_say(tmp_path: Path, end: ExitStack) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target, source / "lost+found", source / "cache"):
        folder.mkdir()
    (source / "new").write_bytes(b"new")
    (source / "cache" / "x").write_bytes(b"x")
    (target / "old").write_bytes(b"old")
    dry = migrate(tmp_path, end, str(source), str(target), "--dry-run", "--delete")
    assert dry.wait() == 0, dry.said
    assert "would be moved" in dry.out
    assert sorted(os.listdir(target)) == ["old"]
    assert migrate(tmp_path, end, str(source), str(tmp_path / "not" / "there"), "--dry-run").wait() == 0
    assert not (tmp_path / "not").exists()
    assert migrate(tmp_path, end, str(source), str(target), "--exclude", "/cache").wait() == 0
    assert sorted(os.listdir(target)) == ["new", "old"]
    assert migrate(tmp_path, end, str(source), str(target), "--exclude", "/cache", "--delete").wait() == 0
    assert sorted(os.listdir(target)) == ["new"]


def test_without_being_root(end: ExitStack) -> None:
    """Links arrive as they are, although the daemon cannot be locked into the volume."""
    if os.geteuid():
        pytest.skip("every other test is one of this, then")
    place = end.enter_context(squid.folder()) / "place"  # pytest's own are for one user alone
    source, target = place / "source", place / "target"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"x" * 1000)
    for name, to in (("absolute", "/etc/hostname"), ("sub/up", "../../../x"), ("dangling", "no/where")):
        (source / name).symlink_to(to)
    for path, folders, files in os.walk(place):
        for name in ("", *folders, *files):
            os.lchown(os.path.join(path, name), 65534, 65534)
    trees.dates(source, random.Random(3))
    there = {"XDG_RUNTIME_DIR": str(place)}
    running = Migrating(
        place / "here", "migrate", str(source), str(target), "--checksum", user=65534, environment=there
    )
    end.callback(running.close)
    assert running.wait() == 0, running.said
    assert "no difference" in running.out
    trees.assert_same(source, target)


@pytest.mark.parametrize("known", ["fingerprint", "ca", "nothing", "wrong"])
def test_the_daemons_that_mtc_makes(tmp_path: Path, end: ExitStack, known: str) -> None:
    """rsyncd behind stunnel, TLS 1.2 only, with a certificate for both ends."""
    source, target = tmp_path / "source", tmp_path / "target"
    trees.build(source, 50, 1)
    (source / "strange" / "absolute").unlink()  # a daemon without chroot takes the slash from it
    target.mkdir()
    pki = Pki(tmp_path)
    pair = pki.issue("pair.pem", "dvm.test")
    (tmp_path / "secrets").write_text("root:abcdef\n")
    (tmp_path / "secrets").chmod(0o600)
    (tmp_path / "rsyncd.conf").write_text(f"""use chroot = no
munge symlinks = no
uid = {os.geteuid()}
gid = {os.getegid()}
[0cc175b9]
path = {target}
read only = no
auth users = root
secrets file = {tmp_path / "secrets"}
""")
    port = free_port()
    (tmp_path / "rsyncd").mkdir()
    daemon = Peer(
        tmp_path / "rsyncd", port,
        [program("rsync"), "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}",
         f"--config={tmp_path / 'rsyncd.conf'}"],
    )  # fmt: skip
    end.callback(daemon.stop)
    tls = stunnel(
        tmp_path, "stunnel",
        f"cert = {pair}\nconnect = {daemon.address}\nsslVersion = TLSv1.2\nverifyChain = yes\nCAfile = {pki.ca}",
    )  # fmt: skip
    end.callback(tls.stop)
    from ferryman.migrate.certificates import fingerprint

    pem, last = Path(pair).read_text(), "-----END CERTIFICATE-----\n"
    leaf = pem[pem.index("-----BEGIN CERTIFICATE") :].partition(last)[0] + last
    how = {
        "fingerprint": ["--fingerprint", fingerprint(leaf)],
        "ca": ["--ca", pki.ca, "--server-name", "dvm.test"],
        "nothing": ["--no-verify"],
        "wrong": ["--fingerprint", "ab" * 32],
    }[known]
    running = migrate(
        tmp_path, end, str(source), "--to", tls.address, "--module", "0cc175b9", "--cert", pair, "--checksum", *how,
        environment={"RSYNC_PASSWORD": "abcdef"},
    )  # fmt: skip
    if known == "wrong":
        assert running.wait() == 3, running.said
        assert "certificate" in running.err
        return
    assert running.wait() == 0, running.said
    trees.assert_same(source, target, attributes=False)
    if known == "fingerprint":
        wrong = migrate(
            tmp_path, end, str(source), "--to", tls.address, "--module", "0cc175b9", "--cert", pair, *how,
            environment={"RSYNC_PASSWORD": "other"},
        )  # fmt: skip
        assert wrong.wait() == 3, wrong.said
        assert "auth failed" in wrong.err
    assert json.dumps("abcdef") not in running.said
