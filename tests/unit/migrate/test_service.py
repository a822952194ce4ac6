"""The serving end: who may claim what, once; and what it is told afterwards."""

from __future__ import annotations

import asyncio
import glob
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman.migrate import MigrationError, certificates, claim, ends, memory, rsync, volumes
from ferryman.migrate.display import Quiet
from ferryman.migrate.memory import Memory
from ferryman.migrate.service import Service, first_data, listen, own_addresses
from ferryman.migrate.session import Order, Session
from ferryman.migrate.token import Token, parse
from ferryman.migrate.volumes import Volume

PATIENCE = 120.0
pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
CLIENT = certificates.make("client")


@pytest.fixture
def place() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="f") as folder:
        yield folder


def begun(place: str, tmp_path: Path, *names: str) -> Memory:
    targets = [Volume(name, str(tmp_path / name), name == volumes.SINGLE) for name in names]
    for each in targets:
        volumes.prepare_target(each.path)
    return memory.begin(place, "serve", first_data(targets, "127.0.0.1", 0, [], ""))


def serving(remembered: Memory, test: Callable[[Service, Token, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        said: list[str] = []
        service = Service(remembered, said.append)
        async with asyncio.timeout(PATIENCE):
            await service.start()
            try:
                await test(service, parse(service.token) if service.token else None, said)  # type: ignore[arg-type]
            finally:
                await service.close()

    asyncio.run(main())


def asked(remembered: Memory, **message: Any) -> Awaitable[claim.Message]:
    """Straight at its socket, where the engine connects to."""
    return claim.ask(os.path.join(remembered.runtime, ends.CLAIM), message)


def rightly(token: Token, *names: str) -> dict[str, Any]:
    return {"secret": token.secret.hex(), "certificate": CLIENT.certificate, "volumes": list(names)}


def test_the_token_has_what_a_client_needs(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, "data")

    async def test(service: Service, token: Token, said: list[str]) -> None:
        assert token.addresses == (f"127.0.0.1:{remembered.data['port']}",)
        assert token.fingerprint == certificates.fingerprint(remembered.data["certificate"])
        with socket.create_connection(("127.0.0.1", remembered.data["port"]), PATIENCE):
            pass

    serving(remembered, test)


def test_one_client_claims_it_and_no_other(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, "data")

    async def test(service: Service, token: Token, said: list[str]) -> None:
        first = await asked(remembered, **rightly(token, "data"))
        assert claim.password(first) == remembered.data["password"]
        assert service.token == ""
        assert await asked(remembered, **rightly(token, "data")) == first  # it has not heard the answer
        thief = rightly(token, "data") | {"certificate": certificates.make("client").certificate}
        refused = await asked(remembered, **thief)
        assert "used already" in claim.refusal(refused)
        assert "password" not in refused
        assert said[0].startswith("a client has begun: data")

    serving(remembered, test)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"secret": "00" * 16}, "of another migration"),
    ({"secret": 7}, "another version"),
    ({"volumes": "data"}, "another version"),
    ({"certificate": "-----BEGIN"}, "not one that ferryman makes"),
    ({"volumes": ["other"]}, "has no volume other; it has data"),
    ({"volumes": []}, "1 to 1000 volumes"),
    ({"volumes": ["data", "data"]}, "each another one"),
    ({"volumes": ["../data"]}, "is no name of a volume"),
    ({"volumes": [7]}, "each another one"),
]


def test_who_claims_wrongly_gets_nothing(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, "data")

    async def test(service: Service, token: Token, said: list[str]) -> None:
        for change, why in WRONG:
            answer = await asked(remembered, **(rightly(token, "data") | change))
            assert why in claim.refusal(answer), change
            assert "password" not in answer
            assert service.token, "it is still good"

    serving(remembered, test)


def test_a_volume_that_cannot_be_written_to_leaves_no_other_served(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, "a", "b")

    async def test(service: Service, token: Token, said: list[str]) -> None:
        (tmp_path / "b").rmdir()
        (tmp_path / "b").write_text("in its place")
        assert str(tmp_path / "b") in claim.refusal(await asked(remembered, **rightly(token, "a", "b")))
        for path in glob.glob(f"{remembered.runtime}/v*/socket"):
            with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(path)

    serving(remembered, test)


def test_named_volumes_go_below_a_destination_without_a_name(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, volumes.SINGLE)

    async def test(service: Service, token: Token, said: list[str]) -> None:
        assert "password" in await asked(remembered, **rightly(token, "a", "b"))

    serving(remembered, test)
    assert [each[1] for each in remembered.data["volumes"]] == [
        str(tmp_path / volumes.SINGLE / name) for name in ("a", "b")
    ]


def test_what_was_agreed_holds_after_a_crash(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, "data")
    found: list[claim.Message] = []

    async def test(service: Service, token: Token, said: list[str]) -> None:
        found.append(await asked(remembered, **rightly(token, "data")))

    serving(remembered, test)
    remembered = memory.find(place, "serve", "")
    secret = Token(("x:1",), "ab" * 32, bytes.fromhex(remembered.data["secret"]), "")

    async def again(service: Service, token: Token, said: list[str]) -> None:
        assert service.token == ""
        found.append(await asked(remembered, **rightly(secret, "data")))

    serving(remembered, again)
    assert found[0] == found[1]


def test_a_whole_migration_ends_it(place: str, tmp_path: Path) -> None:
    remembered = begun(place, tmp_path, "data")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(50_000))
    os.utime(source / "file", (1e9, 1e9))

    async def test(service: Service, token: Token, said: list[str]) -> None:
        order = Order((Volume("data", str(source)),), rsync.Flags(), token=token)
        mine = memory.begin(place, "migrate", {"order": order.kept()})
        await Session(mine, Quiet(io.StringIO(), every=float("inf"))).run()
        mine.forget()
        await service.run()
        assert service.finished == {"do": "finish", "volumes": 1}

    serving(remembered, test)
    assert (tmp_path / "data" / "file").read_bytes() == (source / "file").read_bytes()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["file"]
    assert os.listdir(place) == [], "it is forgotten"


def test_an_engine_that_ends_by_itself_is_told(place: str, tmp_path: Path) -> None:
    async def test(service: Service, token: Token, said: list[str]) -> None:
        assert service._engine is not None
        assert service._engine._supervisor is not None
        service._engine._supervisor.begin_stop(drain=False)
        with pytest.raises(MigrationError, match="has ended: nobody asked it to"):
            await service.run()

    serving(begun(place, tmp_path, "data"), test)


def test_where_it_cannot_listen() -> None:
    with listen("127.0.0.1", 0) as sock, pytest.raises(MigrationError, match=r"cannot listen on 127\.0\.0\.1:"):
        listen("127.0.0.1", sock.getsockname()[1])


def test_own_addresses_are_addresses() -> None:
    for address in own_addresses():
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
