"""What is examined, as it is shown: without the password, with the brackets of IPv6."""

from __future__ import annotations

import pytest
from tests.unit.doctor.ends import proxy

from ferryman.doctor.path import Control, Path


@pytest.mark.parametrize(("host", "target"), [("dvm.test", "dvm.test:443"), ("2001:db8::1", "[2001:db8::1]:443")])
def test_the_target(host: str, target: str) -> None:
    path = Path(host, 443)
    assert path.target == target
    assert str(path) == f"{target}, without a proxy"
    assert path.server_name == host
    assert Path(host, 443, name="other.test").server_name == "other.test"


def test_secrets_are_not_shown() -> None:
    path = Path("dvm.test", 443, proxy(3128, user="walter:hunter2"), control=Control("api.test", 6443, bearer="b34r3r"))
    assert str(path).startswith("dvm.test:443 through http://")
    for shown in (str(path), repr(path), repr(path.control)):
        assert "hunter2" not in shown
        assert "b34r3r" not in shown
