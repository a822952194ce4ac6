"""The keys of TLS session tickets: the same in all workers, so that any of them resumes what another began.

Made by the supervisor and pushed to the workers; replaced every so often, since whoever learns them can read what
sessions resumed with them said (RFC 5077 section 5.5). Kept nowhere: after a restart sessions begin anew. Where OpenSSL
cannot be told of them there are none, and each worker resumes what it began itself.
"""

from __future__ import annotations

import os
from time import monotonic

from ferryman.dataplane import openssl


class Tickets:
    """`keys`: the present ones; b"": none."""

    def __init__(self) -> None:
        self.keys = b""
        self._made = 0.0
        self._make()

    def rotate(self, every: float) -> bool:
        """Replace them if they are older than this (seconds). True: they were."""
        if not self.keys or monotonic() - self._made < every:
            return False
        self._make()
        return True

    def _make(self) -> None:
        self.keys, self._made = os.urandom(openssl.TICKET_KEYS) if openssl.available else b"", monotonic()
