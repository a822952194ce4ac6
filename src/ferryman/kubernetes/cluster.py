"""Manifests of a live cluster, through kubectl (or oc) and the user's own configuration of it.

Called by the command line. kubectl knows every way to log in; so nothing here does. It only reads.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ferryman.kubernetes.manifests import Reading, decoded, take

PROGRAMS: Final = ("kubectl", "oc")
_PATIENCE: Final = 120  # seconds for one answer of the program
_ABSENT: Final = ("the server doesn't have a resource type", "could not find the requested resource")


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind to ask for. `needed`: without it nothing can be said for sure."""

    name: str
    namespaced: bool
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the cluster; empty: as kubectl does by itself."""

    context: str = ""
    kubeconfig: str = ""


def read(
    access: Access, resources: Sequence[Resource], namespaces: Sequence[str], besides: Sequence[str] = ()
) -> Reading:
    """All objects of these kinds; those that have a namespace only of these namespaces, if any are given.

    `besides` are namespaces to ask then as well, where it is no failure if they may not be read.
    """
    reading = Reading()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        hint = "install one, or give the manifests as files"
        reading.error(None, f"there is no {' and no '.join(PROGRAMS)} here", hint)
        return reading
    options = [f"--context={access.context}"] if access.context else []
    options += [f"--kubeconfig={access.kubeconfig}"] if access.kubeconfig else []
    extra = [each for each in dict.fromkeys(besides) if each not in namespaces] if namespaces else []
    for resource in resources:
        if not resource.namespaced:
            asked: list[tuple[list[str], Resource]] = [([], resource)]
        elif not namespaces:
            asked = [(["--all-namespaces"], resource)]
        else:
            asked = [([f"--namespace={each}"], resource) for each in namespaces]
            asked += [([f"--namespace={each}"], replace(resource, needed=False)) for each in extra]
        for where, what in asked:
            if not _get([program, "get", resource.name, *where, *options], what, reading):
                return reading
    return reading


def _get(command: list[str], resource: Resource, reading: Reading) -> bool:
    """Ask for one kind. False when it makes no sense to ask for more."""
    try:
        done = subprocess.run(
            [*command, "--output=json", "--request-timeout=60s"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        said = f"no answer in {_PATIENCE} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        reading.error(None, f"{' '.join(command[:3])}: {said}")
        return False
    if done.returncode == 0:
        if source := decoded(f"<{' '.join(['kubectl', *command[1:3]])}>", done.stdout, reading):
            take(source, reading)
        return True
    said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
    if any(absent in said for absent in _ABSENT):
        return True
    forbidden = "(Forbidden)" in said
    if forbidden and not resource.needed:
        message = f"{resource.name} may not be read: {said}"
        reading.diagnostics.warning(None, message, "what follows from them is not known, or taken to be none")
        return True
    hint = "ask for one namespace with --namespace" if forbidden and "--all-namespaces" in command else ""
    reading.error(None, f"{' '.join(command[:3])}: {said}", hint)
    return forbidden
