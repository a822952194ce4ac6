"""What a health check can find, in HAProxy's words and numbers.

Made by probe, counted by health; logs, pages, metrics and the runtime socket show it. Does nothing by itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Outcome(NamedTuple):
    """A status of `STATUSES`; the reason in words; the code of an answer, where that has one."""

    status: str
    description: str = ""
    code: int = 0

    @property
    def good(self) -> bool:
        return passed(self.status)

    @property
    def reached(self) -> bool:
        """Was there a connection to the server?"""
        return not self.status.startswith("L4") and self.status != "SOCKERR"


class Status(NamedTuple):
    """The text, HAProxy's number, and whether an answer's code goes with it."""

    text: str
    number: int
    with_code: bool = False


STATUSES: Final = {
    "UNK": Status("Unknown", 0),
    "INI": Status("Initializing", 1),
    "SOCKERR": Status("Socket error", 5),
    "L4OK": Status("Layer4 check passed", 6),
    "L4TOUT": Status("Layer4 timeout", 7),
    "L4CON": Status("Layer4 connection problem", 8),
    "L6OK": Status("Layer6 check passed", 9),
    "L6TOUT": Status("Layer6 timeout", 10),
    "L6RSP": Status("Layer6 invalid response", 11),
    "L7TOUT": Status("Layer7 timeout", 12),
    "L7RSP": Status("Layer7 invalid response", 13),
    "L7OK": Status("Layer7 check passed", 15, with_code=True),
    "L7STS": Status("Layer7 wrong status", 17, with_code=True),
}


def passed(status: str) -> bool:
    """Is it a good one?"""
    return status.endswith("OK")


def known(status: str) -> bool:
    """Has a check come to it?"""
    return status not in ("", "UNK", "INI")
