"""TLS alerts that are sent before there is TLS (RFC 8446 section 6), to a client whose hello was read and refused.

Called by the data plane. Gives bytes; knows no connection.
"""

from __future__ import annotations

from typing import Final

ACCESS_DENIED: Final = 49
INTERNAL_ERROR: Final = 80
UNRECOGNIZED_NAME: Final = 112
HANDSHAKE_FAILURE: Final = 40

_ALERT: Final = 21
_FATAL: Final = 2


def fatal(description: int) -> bytes:
    """A record with this fatal alert, as TLS 1.2 writes it, which every version reads."""
    assert 0 <= description <= 255
    return bytes((_ALERT, 3, 3, 0, 2, _FATAL, description))
