"""What the answers to a request for an upgrade say about who is in between."""

from __future__ import annotations

import pytest

from ferryman.doctor.answer import Head
from ferryman.doctor.control import Upgrade, judge


def said(status: int, body: str = "", pong: bool = False) -> Upgrade:
    return Upgrade(head=Head(f"HTTP/1.1 {status}", "1.1", status, (), 0), body=body, pong=pong)


SWITCHED, STUCK = said(101, pong=True), said(101)
REQUIRED = said(400, '{"kind":"Status","message":"Upgrade request required"}')
MISSING = said(400, '{"kind": "Status", "message": "unable to upgrade: missing upgrade headers in request"}')
FORBIDDEN = said(403, '{"kind": "Status", "code": 403}')


@pytest.mark.parametrize(
    ("spdy", "websocket", "code"),
    [
        (SWITCHED, SWITCHED, ""),
        (SWITCHED, REQUIRED, ""),
        (REQUIRED, REQUIRED, "CONNECTION_HEADER_STRIPPED"),
        (MISSING, MISSING, "UPGRADE_STRIPPED"),
        (REQUIRED, SWITCHED, "SPDY_REFUSED"),
        (said(502), said(502), "L7_HTTP2_OR_REPLY_FILTER"),
        (said(400, "http2: invalid Upgrade request header"), said(400), "L7_HTTP2_OR_REPLY_FILTER"),
        (Upgrade("closed"), Upgrade("closed"), "L7_HTTP2_OR_REPLY_FILTER"),
        (STUCK, STUCK, "101_NOT_TUNNELLED"),
        (STUCK, SWITCHED, "101_NOT_TUNNELLED"),
        (FORBIDDEN, FORBIDDEN, "API_AUTH"),
        (said(200, "<html>"), said(200, "<html>"), "MIDDLEBOX_ANSWER"),
        (said(403, "<html>"), said(403, "<html>"), "MIDDLEBOX_ANSWER"),
    ],
)
def test_judgement(spdy: Upgrade, websocket: Upgrade, code: str) -> None:
    assert judge(spdy, websocket)[0] == code
