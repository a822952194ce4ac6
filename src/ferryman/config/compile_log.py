"""Log settings to the plan's targets, each of which exists once however many listeners write to it.

Called by config.compile and config.compile_listener.
"""

from __future__ import annotations

from dataclasses import replace

from ferryman.config.model import ListenerSettings, LogSettings
from ferryman.config.source import Path, Report
from ferryman.config.values import parse_log_target, shown
from ferryman.plan import AccessLog, LogTarget


class LogTargets:
    """Gives equal targets one id."""

    def __init__(self) -> None:
        self._found: dict[LogTarget, LogTarget] = {}

    def add(self, settings: list[LogSettings]) -> tuple[LogTarget, ...]:
        return tuple(dict.fromkeys(self._add(entry) for entry in settings))

    @property
    def all(self) -> tuple[LogTarget, ...]:
        """Every target, by id."""
        return tuple(self._found.values())

    def _add(self, settings: LogSettings) -> LogTarget:
        kind, address, port = parse_log_target(settings.target)
        target = LogTarget(
            id=-1,
            kind=kind,
            address=address,
            port=port,
            format=settings.format,
            facility=settings.facility,
            max_level=settings.max_level,
            min_level=settings.min_level,
            tag=settings.tag,
            hostname=settings.hostname,
            length=settings.length or (1024 if kind in ("udp", "unix") else 8192),
        )
        return self._found.setdefault(target, replace(target, id=len(self._found)))


def compile_access_log(
    settings: ListenerSettings, path: Path, default: tuple[LogTarget, ...], targets: LogTargets, report: Report
) -> AccessLog:
    """The access log of a listener; `default` is where it goes if the listener does not say."""
    if settings.log_format not in ("json", "tcp", "connect"):
        _check_template(settings.log_format, (*path, "log_format"), report)
    return AccessLog(
        targets=default if settings.log is None else targets.add(settings.log),
        format=settings.log_format,
        at_start=settings.log_start,
        as_soon_as_possible=settings.log_asap,
        empty=settings.log_empty,
        normal=settings.log_normal,
        separate_errors=settings.log_separate_errors,
    )


def _check_template(template: str, path: Path, report: Report) -> None:
    from ferryman.dataplane.accesslog import check  # the language is known where the lines are made

    for offset, message in check(template):
        report.error(path, f"{message}, at {shown(template[offset : offset + 20])} of the log format")
