"""The first hop: does its name resolve, does anybody listen, and is one let in?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, PLACES, Server, proxy, reset, to_the_end, unused_port

from ferryman.doctor.path import Path
from ferryman.doctor.reach import examine
from ferryman.doctor.tunnel import Dialer, Tunnel


def codes(path: Path) -> list[str]:
    rows = examine(path, Dialer(PATIENCE), PLACES)
    assert [row.probe for row in rows] == ["name", "reach"]
    return [row.verdict.code if row.verdict else row.state for row in rows]


def stays(tunnel: Tunnel) -> None:
    assert to_the_end(tunnel) == b""


@pytest.mark.parametrize("proxied", [True, False])
def test_somebody_listens(proxied: bool, server: Callable[..., Server]) -> None:
    port = server(stays).port
    path = Path("dvm.test", 443, proxy(port)) if proxied else Path("127.0.0.1", port)
    assert codes(path) == ["ok", "ok"]


@pytest.mark.parametrize(("proxied", "code"), [(True, "NO_PROXY_LISTENER"), (False, "TARGET_REFUSED")])
def test_nobody_listens(proxied: bool, code: str) -> None:
    port = unused_port()
    assert codes(Path("dvm.test", 443, proxy(port)) if proxied else Path("127.0.0.1", port)) == ["ok", code]


def test_a_name_that_does_not_resolve() -> None:
    assert codes(Path("no-such-name.invalid", 443)) == ["TARGET_NAME_UNKNOWN", "skipped"]


def test_whoever_lets_one_in_and_resets(server: Callable[..., Server]) -> None:
    assert codes(Path("127.0.0.1", server(reset).port)) == ["ok", "ACL_RESET"]


def test_an_address_of_ipv6_is_shown_with_its_brackets(server: Callable[..., Server]) -> None:
    port = server(stays, "::1").port
    _, row = examine(Path("::1", port), Dialer(PATIENCE), PLACES)
    assert row.said.startswith(f"connected to [::1]:{port} in ")
