"""All flows of all namespaces: the door for the command line.

`namespaces` says which to judge, `survey` judges them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ferryman.policy.flows import Question, Side, inbound, outbound
from ferryman.policy.objects import World
from ferryman.policy.ruling import Ruling, rule_on

Worlds = dict[Side, World]
"""The two clusters; they may be one."""
_CLUSTERS_OWN = ("openshift-", "kube-")


def namespaces(worlds: Worlds, wanted: Iterable[str]) -> list[str]:
    """Those that are wanted; if none is, all that manifests speak of and that may be migrated."""
    if found := list(wanted):
        return found
    seen = {name for world in worlds.values() for name in world.seen if not name.startswith(_CLUSTERS_OWN)}
    return sorted(seen) or [worlds[Side.SOURCE].default_namespace]


def survey(worlds: Worlds, question: Question, pairs: Iterable[tuple[str, str]]) -> Iterator[Ruling]:
    """Every flow from a namespace of the source to one of the destination, in the order of their use."""
    source, destination = worlds[Side.SOURCE], worlds[Side.DESTINATION]
    for namespace, to_namespace in pairs:
        for flow in outbound(question, namespace, to_namespace):
            yield rule_on(source, flow, question.known)
        for flow in inbound(question, namespace, to_namespace, destination):
            yield rule_on(destination, flow, question.known)
