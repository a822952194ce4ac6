"""Alerts as a TLS client reads them."""

from __future__ import annotations

import socket
import ssl

import pytest

from ferryman.wire import alert


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (alert.ACCESS_DENIED, "access denied"),
        (alert.INTERNAL_ERROR, "internal error"),
        (alert.UNRECOGNIZED_NAME, "unrecognized name"),
        (alert.HANDSHAKE_FAILURE, "handshake failure"),
    ],
)
def test_a_client_reads_it(description: int, said: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(alert.fatal(description))
        with pytest.raises(ssl.SSLError, match=said):
            ssl.create_default_context().wrap_socket(theirs, server_hostname="example.org")
