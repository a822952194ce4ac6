"""What all tests share: on continuous integration a skipped test is a failure.

Elsewhere a test may skip where a peer program is missing. Where CI is set everything is meant to be there, so a skip
hides a test that nobody runs; the session then ends non-zero and lists the reasons.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# ferryman is started hundreds of times, and compiling its modules each time costs more than running it
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# how long something takes says nothing on a machine that others use as well
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def _skips(config: pytest.Config) -> Iterator[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None:
        for report in reporter.stats.get("skipped", ()):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            yield f"{report.nodeid}: {reason}"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn success with skips into failure."""
    if exitstatus == pytest.ExitCode.OK and any(_skips(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which skips made the session fail; pytest's own closing line follows."""
    if found := sorted(set(_skips(config))):
        terminalreporter.section(f"CI: {len(found)} skipped, which counts as failed", red=True)
        for line in found:
            terminalreporter.line(line)
