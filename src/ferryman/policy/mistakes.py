"""What is wrong with policies that are each valid: names that replace each other, rules that never count.

Called by the command line once a world is built. Each finding is a warning: the verdicts already follow what the
cluster does with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from ferryman.config.source import Diagnostics
from ferryman.kubernetes.manifests import Manifest
from ferryman.policy.flows import APP, OWNED_BY, OWNER, Plane
from ferryman.policy.objects import Cni, Direction, Firewall, NetworkPolicy, Pods, World


def find(world: World, planes: Sequence[Plane], diagnostics: Diagnostics) -> None:
    """Report what is wrong for a migration by these planes."""
    for replaced in world.replaced:
        first, second = replaced.first, replaced.second
        if _holds(first, second):
            continue
        rules = second.kind != "NetworkPolicy"
        diagnostics.warning(
            second.mark("metadata", "name"),
            f"{second} replaces the one at {first.mark('metadata', 'name')}: of two objects with one name in one "
            "namespace only the later one is there",
            "put the rules of both into one object" if rules else "give it a name of its own",
        )
    for policies in world.policies.values():
        for policy in policies:
            _planes(policy, planes, diagnostics)
            _peers(policy, diagnostics)
            if policy.manifest.api != "networking.k8s.io/v1":
                hint = "write networking.k8s.io/v1"
                diagnostics.warning(policy.manifest.mark("apiVersion"), f"{policy.manifest.api} is gone", hint)
    for namespace, firewalls in world.egress_network_policies.items():
        _egress_network_policies(world, namespace, firewalls, diagnostics)
    for firewalls in world.egress_firewalls.values():
        _egress_firewalls(world, firewalls, diagnostics)


def find_needless(source: World, destination: World, diagnostics: Diagnostics) -> None:
    """Report policies for a migration's pods that help in the other cluster only. The two worlds are not one."""
    for world, direction, whose in (
        (source, Direction.INGRESS, "nobody connects to the source's pods"),
        (destination, Direction.EGRESS, "the destination's pods connect to nobody, and replies always pass"),
    ):
        for policy in (each for policies in world.policies.values() for each in policies):
            own = any(each.key == OWNER and OWNED_BY in each.values for each in policy.selector)
            if own and policy.directions == {direction}:
                message = (
                    f"{policy.manifest} is for {direction.value.lower()} of the migration's pods, which is not needed"
                )
                diagnostics.warning(policy.manifest.key("spec"), f"{message}: {whose}")


def _holds(first: Manifest, second: Manifest) -> bool:
    """Whether nothing of the first is lost if the second replaces it: it says the same, or the same and more."""
    one, other = first.data.get("spec"), second.data.get("spec")
    if one == other:
        return True
    if first.kind == "NetworkPolicy" or not isinstance(one, dict) or not isinstance(other, dict):
        return False
    rules, more = one.get("egress"), other.get("egress")
    return isinstance(rules, list) and isinstance(more, list) and all(rule in more for rule in rules)


def _planes(policy: NetworkPolicy, planes: Sequence[Plane], diagnostics: Diagnostics) -> None:
    """A policy that is meant for a migration's pods, and forgets half of them."""
    wanted = [each for each in policy.selector if each.key == APP and each.operator == "In"]
    both = {plane.value for plane in Plane}
    for each in wanted:
        chosen = both & set(each.values)
        if len(chosen) == 1 and len(planes) == len(both):
            (missing,) = both - chosen
            diagnostics.warning(
                policy.manifest.key("spec", "podSelector"),
                f"{policy.manifest} is for pods with app={chosen.pop()} alone: those with app={missing} carry volumes, "
                "too, and are not let through by it",
                f"select both with matchExpressions: app In [{', '.join(sorted(both))}]",
            )


def _peers(policy: NetworkPolicy, diagnostics: Diagnostics) -> None:
    """The server's pod never sees the client's: who connects to it is the router."""
    for rule in policy.rules(Direction.INGRESS):
        for index, peer in enumerate(rule.peers):
            chosen = peer.pods if isinstance(peer, Pods) else None
            if any(each.key == OWNER and OWNED_BY in each.values for each in chosen or ()):
                diagnostics.warning(
                    policy.manifest.mark(*rule.path, "from", index),
                    f"{policy.manifest} lets the migration's pods in, but it is the router that connects to them",
                    "let the namespace of the router in, at TCP 6443",
                )


def _egress_network_policies(world: World, namespace: str, firewalls: list[Firewall], diagnostics: Diagnostics) -> None:
    if len(firewalls) > 1:
        first, second = firewalls[0].manifest, firewalls[1].manifest
        at = first.mark("metadata", "name")
        diagnostics.warning(
            second.mark("metadata", "name"),
            f"namespace {namespace} has more than one EgressNetworkPolicy, the first at {at}: "
            "OpenShift SDN then drops everything that leaves the cluster",
            f"add its rules to {first.name}, before the first Deny that stops them",
        )
    if namespace == "default":
        message = "OpenShift SDN rejects an EgressNetworkPolicy in the global project `default`"
        diagnostics.warning(firewalls[0].manifest.mark("metadata", "namespace"), message)
    for firewall in firewalls:
        if world.cni not in (None, Cni.SDN):
            message = f"{firewall.manifest} has no effect: EgressNetworkPolicy is OpenShift SDN's"
            diagnostics.warning(firewall.manifest.mark("kind"), message, "OVN-Kubernetes obeys an EgressFirewall")
        _unreachable(firewall, diagnostics)


def _egress_firewalls(world: World, firewalls: list[Firewall], diagnostics: Diagnostics) -> None:
    for firewall in firewalls:
        manifest = firewall.manifest
        if manifest.name != "default":
            message = f"{manifest} has no effect: only an EgressFirewall named `default` counts"
            diagnostics.warning(
                manifest.mark("metadata", "name"), message, "name it default, or add its rules to that one"
            )
        elif world.cni not in (None, Cni.OVN):
            message = f"{manifest} has no effect: EgressFirewall is OVN-Kubernetes'"
            diagnostics.warning(manifest.mark("kind"), message, "OpenShift SDN obeys an EgressNetworkPolicy")
        _unreachable(firewall, diagnostics)
        _names(firewall, diagnostics)


def _names(firewall: Firewall, diagnostics: Diagnostics) -> None:
    """Evaluated as the implementation does it; documentation is not agreed on that."""
    named = [rule for rule in firewall.rules if rule.allows and rule.dns is not None]
    if named and any(not rule.allows and rule.network and not rule.network.prefixlen for rule in firewall.rules):
        diagnostics.warning(
            firewall.manifest.mark(*named[0].path),
            f"{firewall.manifest}: an Allow for a name counts only once the cluster has resolved it",
            "an address range is surer where everything else is denied",
        )


def _unreachable(firewall: Firewall, diagnostics: Diagnostics) -> None:
    """An Allow behind a Deny that means all of it."""
    shut: list[tuple[int, IPv4Network | IPv6Network]] = []
    for number, rule in enumerate(firewall.rules, 1):
        if rule.network is None:
            continue
        if not rule.allows and not rule.ports:
            shut.append((number, rule.network))
            continue
        for before, network in shut:
            if network.version == rule.network.version and rule.network.subnet_of(network):  # type: ignore[arg-type]
                diagnostics.warning(
                    firewall.manifest.mark(*rule.path),
                    f"{firewall.manifest}: rule {number} never counts, as rule {before} denies {network} before it",
                    f"move it before rule {before}",
                )
                break
