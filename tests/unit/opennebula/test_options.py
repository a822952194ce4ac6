"""What of OpenNebulaNetwork.conf is ours alone, and what can be wrong with its form."""

from __future__ import annotations

import pytest

from ferryman.config.source import Diagnostics, Source
from ferryman.opennebula import options


def told(text: str) -> list[str]:
    diagnostics = Diagnostics()
    options.read(Source("one.conf", text), diagnostics)
    return [str(one).removeprefix("one.conf:") for one in diagnostics.found]


def test_none() -> None:
    assert options.read(Source("x", ":tproxy: []\n"), Diagnostics()) == options.Options()
    assert told("# :tproxy_options: come later\n:a: 1\n") == []


def test_what_they_are() -> None:
    diagnostics = Diagnostics()
    text = ':tproxy_options:\n- {":service_port": 80, ":bridges": [br0], ":listener": {backlog: 5}}\n'
    (found,) = options.read(Source("x", text), diagnostics).entries
    assert diagnostics.found == []
    assert (found.port, found.bridges, found.remotes) == (80, ("br0",), ())
    assert found.settings == {"backend": {}, "listener": {"backlog": 5}}
    assert found.is_for("br0", 80)
    assert not found.is_for("br1", 80)
    assert not found.is_for("br0", 81)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (":tproxy_options: 5\n", "1:18: error: `:tproxy_options:` is a list"),
        (":tproxy_options:\n- 5\n", "2:3: error: an entry is a mapping"),
        (":tproxy_options:\n- :bridges: [a]\n", "2:3: error: `:service_port:` is missing"),
        (":tproxy_options:\n- :service_port: 99999\n", "2:18: error: 99999 is no port"),
        (
            ":tproxy_options:\n- :service_port: 80\n  :bridges: br0\n",
            "3:13: error: `:bridges:` is a list of texts; write [br0]",
        ),
        (
            ":tproxy_options:\n- :service_port: 80\n  :bridges: [1]\n",
            "3:3: error: `:bridges:` is a list of texts; each in quotation marks",
        ),
        (":tproxy_options:\n- :service_port: 80\n  :remote: a\n", "3:3: error: unknown key ':remote'; did you mean"),
        (
            ":tproxy_options:\n- :service_port: 80\n  bridges: []\n",
            "3:3: error: unknown key 'bridges'; write `:bridges:`",
        ),
        (":tproxy_options:\n- :service_port: 80\n  :backend: x\n", "3:13: error: `:backend:` is a mapping"),
        (
            ":tproxy_options:\n- :service_port: 80\n  :backend: {servers: x}\n",
            "3:14: error: `servers` follows from the service; say `:remotes:`",
        ),
        (":tproxy_page: 5\n", "1:15: error: `:tproxy_page:` is an address"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    (only,) = told(text)
    assert only.startswith(message)
