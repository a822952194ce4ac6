"""Values people write: durations and addresses, as text to typed value or ValueError with a helpful message.

Used by the model and by the dialects. Knows no files and no positions.
"""

from __future__ import annotations

from ferryman.plan import Address


def parse_seconds(value: object) -> object:
    """"500ms", "10s", "1m", a number of seconds -> seconds. Raises ValueError."""
    raise NotImplementedError


def format_seconds(value: float) -> str:
    """Seconds -> the shortest exact text parse_seconds reads back: 90.0 -> "90s", 0.5 -> "500ms"."""
    raise NotImplementedError


def parse_listen_address(value: object) -> Address:
    """Where to listen. The text after the last colon is the port unless a "]" follows it. Raises ValueError."""
    raise NotImplementedError


def parse_connect_address(value: object) -> Address:
    """Where to connect: as above; a missing port or +N/-N means the client's port (plus N). Raises ValueError."""
    raise NotImplementedError
