"""`ferryman migrate`: volumes from one machine to another, by rsync within TLS 1.3, through a proxy where there is one.

    volumes             what is moved where: SOURCE and DEST as a command line names them
    token               what one end prints and the other is given; how a token is good for one migration only
    certificates        keys and self-signed certificates of one migration
    ends engine         the native configurations of both ends, and ferryman itself as a child that runs them
    rsync rsyncd        command lines of rsync as a client; rsync as a daemon, started for each connection
    progress display    what rsync says of its progress, and how it is shown
    diagnosis           why an attempt failed, from ferryman's log and rsync's words
    attempts            one volume, again and again, until it is moved or there is no point
    session             one migration from the side that has the sources
    service claim       the other side, for a client somewhere else; how the two become acquainted
    memory report       what --resume goes on from; what is said at the end

Called by cli.migrate. The bytes go through the ordinary engine, as everything else: nothing here touches any of them.
"""

from __future__ import annotations

from ferryman.errors import FerrymanError


class MigrationError(FerrymanError):
    """A migration cannot begin or go on; the text says why and what to do."""


class RefusedError(MigrationError):
    """The other end, or a proxy on the way, does not want us, or is not the one it should be."""
