"""The configurations are what the proxies themselves call correct."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from bench.peers import Job, Kind, found, installed

from bench import certificates


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "job"
    folder.mkdir()
    return Job(
        folder,
        listen=18001,
        target=18002,
        log=18003,
        workers=1,
        connections=500,
        kind="forward",
        certificates=tmp_path,
    )


def accepts(name: str, job: Job, *check: str) -> None:
    if not found(name) or name not in installed():
        pytest.skip(f"{name} is not installed")
    command = [*installed()[name].command(job), *check]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "check"), [("haproxy", "-c"), ("nginx", "-t"), ("hitch", "--test")])
def test_configuration_of_a_forwarder_is_accepted(name: str, check: str, job: Job) -> None:
    certificates.write(job.certificates, "localhost")
    for kind in installed()[name].kinds if name in installed() else ("forward",):
        accepts(name, replace(job, kind=kind), check)


@pytest.mark.parametrize("kind", ["connect", "bump", "mint"])
def test_squid_configuration_is_accepted(kind: Kind, job: Job) -> None:
    certificates.write(job.certificates, "localhost")
    accepts("squid", replace(job, kind=kind), "-k", "parse")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_ferryman_configuration_is_accepted(kind: Kind, job: Job) -> None:
    certificates.write(job.certificates, "localhost")
    place = replace(job.place, namespace="guests")
    program, *_run, file = installed()["ferryman"].command(replace(job, kind=kind, place=place))
    done = subprocess.run([program, "check", file], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_without_connections_held_ready_is_accepted(job: Job) -> None:
    certificates.write(job.certificates, "localhost")
    program, *_run, file = installed()["ferryman-cold"].command(replace(job, kind="prewarm"))
    assert "prewarm" not in Path(file).read_text()
    done = subprocess.run([program, "check", file], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
