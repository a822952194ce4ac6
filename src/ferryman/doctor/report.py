"""What an examination found: a row per probe, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ferryman.config.render import printable
from ferryman.doctor.verdicts import VERDICTS, Verdict

State = Literal["ok", "found", "unknown", "skipped"]

CARRIES, BROKEN, DOUBTFUL = 0, 1, 4
"""Exit codes: nothing wrong (hints at most); it will not carry a migration; it may break one."""

_RANK: Final = {"error": BROKEN, "warning": DOUBTFUL, "hint": CARRIES}


@dataclass(frozen=True, slots=True)
class Check:
    """One row. `said` is what was seen, in a sentence; `evidence` the raw facts."""

    probe: str
    state: State
    said: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    places: Mapping[str, str] = field(default_factory=dict)  # what a remedy's blanks stand for

    @property
    def mark(self) -> str:
        """The word in front of the row."""
        return self.verdict.severity if self.verdict else self.state

    @property
    def remedy(self) -> str:
        """What to change, with the names of this path in it."""
        if self.verdict is None:
            return ""
        text = self.verdict.remedy
        for name, value in self.places.items():
            text = text.replace("{" + name + "}", value)
        return text

    def data(self) -> dict[str, Any]:
        """For JSON."""
        row: dict[str, Any] = {
            "probe": self.probe,
            "state": self.state,
            "said": self.said,
            "evidence": dict(self.evidence),
        }
        if self.verdict:
            row |= {
                "code": self.verdict.code,
                "severity": self.verdict.severity,
                "at_fault": self.verdict.blame,
                "means": self.verdict.means,
                "remedy": self.remedy,
            }
        return row


@dataclass(frozen=True, slots=True)
class Report:
    """All rows in the order of the probes."""

    path: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def found(self) -> list[Check]:
        return [check for check in self.checks if check.verdict]

    @property
    def exit_code(self) -> int:
        """The worst that was found."""
        codes = {_RANK[check.verdict.severity] for check in self.checks if check.verdict}
        return BROKEN if BROKEN in codes else max(codes, default=CARRIES)

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "carries": {CARRIES: "yes", BROKEN: "no", DOUBTFUL: "perhaps"}[self.exit_code],
            "seconds": round(self.seconds, 3),
            "checks": [check.data() for check in self.checks],
        }


def fine(probe: str, said: str, **evidence: str) -> Check:
    """Looked at, and right."""
    return Check(probe, "ok", printable(said), _facts(evidence))


def finding(probe: str, code: str, said: str, places: Mapping[str, str], **evidence: str) -> Check:
    """Something is wrong; `code` is in verdicts."""
    return Check(probe, "found", printable(said), _facts(evidence), VERDICTS[code], places)


def unknown(probe: str, said: str, **evidence: str) -> Check:
    """Looked at, but not found out; `said` has why."""
    return Check(probe, "unknown", printable(said), _facts(evidence))


def skipped(probe: str, why: str) -> Check:
    """Not looked at."""
    return Check(probe, "skipped", why)


def _facts(evidence: Mapping[str, str]) -> dict[str, str]:
    """What peers said cannot steer a terminal, wherever it is shown."""
    return {printable(name.replace("_", " ")): printable(value) for name, value in evidence.items() if value}
