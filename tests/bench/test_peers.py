"""The configurations are what the proxies themselves call correct."""

import subprocess
from pathlib import Path

import pytest
from bench.peers import Job, found, installed


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(("name", "check"), [("haproxy", "-c"), ("nginx", "-t")])
def test_configuration_is_accepted(name: str, check: str, by_name: bool, tmp_path: Path) -> None:
    if not found(name) or name not in installed():
        pytest.skip(f"{name} is not installed")
    job = Job(tmp_path, listen=18001, target=18002, log=18003, workers=1, connections=500, by_name=by_name)
    done = subprocess.run([*installed()[name].command(job), check], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr
