"""What is rendered for two clusters: that all of it fits together, and where its secrets are."""

from __future__ import annotations

from typing import Any

import pytest

from ferryman.config.proxy_url import parse_proxy_url
from ferryman.migrate import dvm, manifests
from ferryman.migrate.certificates import is_single
from ferryman.migrate.dvm import Migration, Volume

VOLUMES = (Volume("data", "data"), Volume("logs", "old-logs"))
PROXY = parse_proxy_url("http://user:s3cret%40x@proxy.example:3128")


def migration(**changes: Any) -> Migration:
    settings: dict[str, Any] = {"host": "dvm-there.apps.two.example", "port": 443, "via": PROXY, **changes}
    return Migration("here", "there", VOLUMES, **settings)


def render(**changes: Any) -> dict[str, dict[tuple[str, str], Any]]:
    """Objects by kind and name, by side."""
    sides = manifests.render(migration(**changes), manifests.Images())
    return {side: {(each["kind"], each["metadata"]["name"]): each for each in found} for side, found in sides.items()}


def pods(objects: dict[tuple[str, str], Any]) -> list[Any]:
    return [each for (kind, _), each in objects.items() if kind == "Pod"]


@pytest.mark.parametrize("endpoint", ["route", "nodeport", "clusterip"])
def test_all_that_is_named_is_there(endpoint: dvm.Endpoint) -> None:
    for side, objects in render(endpoint=endpoint, host="192.0.2.1").items():
        namespace = {"source": "here", "destination": "there"}[side]
        assert all(each["metadata"]["namespace"] == namespace for each in objects.values())
        for pod in pods(objects):
            volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            for container in pod["spec"]["containers"]:
                assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
                for source in container.get("envFrom", []):
                    assert ("Secret", source["secretRef"]["name"]) in objects
            for volume in volumes.values():
                if "secret" in volume:
                    assert ("Secret", volume["secret"]["secretName"]) in objects
                elif "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in objects


def test_a_pod_for_each_volume() -> None:
    made = render()
    found = {pod["metadata"]["name"]: pod for pod in pods(made["source"])}
    assert len(found) == 2
    modules = made["destination"]["ConfigMap", "crane2-rsync-server-config"]["data"]["rsyncd.conf"]
    for volume in VOLUMES:
        pod = found[f"rsync-{volume.module[:10]}"]
        assert pod["metadata"]["labels"]["migration.openshift.io/created-for-pvc"] == volume.module
        assert {"persistentVolumeClaim": {"claimName": volume.source}, "name": "volume"} in pod["spec"]["volumes"]
        script = pod["spec"]["containers"][0]["command"][2]
        assert f"/mnt/here/{volume.module}/ rsync://root@127.0.0.1:6443/{volume.module};" in script
        assert f"[{volume.module}]\n    path = /mnt/there/{volume.module}\n" in modules
    (server,) = pods(made["destination"])
    claims = [each["persistentVolumeClaim"]["claimName"] for each in server["spec"]["volumes"][4:]]
    assert claims == ["data", "old-logs"]


def test_each_end_trusts_the_other_alone() -> None:
    made = render()
    client = made["source"]["Secret", "fs-crane2-stunnel-client-secret"]["stringData"]
    server = made["destination"]["Secret", "fs-crane2-stunnel-server-secret"]["stringData"]
    assert (client["ca.crt"], server["ca.crt"]) == (server["tls.crt"], client["tls.crt"])
    assert is_single(client["tls.crt"])
    assert is_single(server["tls.crt"])
    again = render()["source"]["Secret", "fs-crane2-stunnel-client-secret"]["stringData"]
    assert again["tls.key"] != client["tls.key"]


def test_what_is_secret_is_in_secrets_alone() -> None:
    made = render()
    password = made["source"]["Secret", "crane2-rsync-client-secret"]["stringData"]["RSYNC_PASSWORD"]
    line = made["destination"]["Secret", "crane2-rsync-server-secret"]["stringData"]["rsyncd.secrets"]
    assert line == f"root:{password}\n"
    for objects in made.values():
        for (kind, _), each in objects.items():
            if kind != "Secret":
                assert not any(word in repr(each) for word in (password, "s3cret", "PRIVATE KEY"))
    assert "s3cret@x" in made["source"]["Secret", "fs-crane2-stunnel-client-config"]["stringData"]["stunnel.conf"]


def test_the_client_goes_through_the_proxy_and_asks_for_the_route() -> None:
    text = dvm.client_stunnel(migration())
    for line in (
        "connect = proxy.example:3128",
        "protocolHost = dvm-there.apps.two.example:443",
        "sni = dvm-there.apps.two.example",
        "accept = 127.0.0.1:6443",
        "verifyPeer = yes",
    ):
        assert line in text.splitlines()
    direct = dvm.client_stunnel(migration(via=None))
    assert "connect = dvm-there.apps.two.example:443" in direct
    assert "protocol" not in direct


def test_endpoints() -> None:
    route = render()["destination"]
    assert route["Route", "dvm"]["spec"]["host"] == "dvm-there.apps.two.example"
    assert route["Service", "dvm"]["spec"]["type"] == "ClusterIP"
    node = render(endpoint="nodeport", host="192.0.2.1", port=30443)["destination"]
    (port,) = node["Service", dvm.SERVICE]["spec"]["ports"]
    assert (port["nodePort"], port["targetPort"]) == (30443, 6443)
    assert not any(kind == "Route" for kind, _ in node)
    cluster = render(endpoint="clusterip", host="192.0.2.1", port=6443)["destination"]
    assert cluster["Service", dvm.SERVICE]["spec"]["clusterIP"] == "192.0.2.1"


def test_services_and_policies_are_for_the_pods() -> None:
    made = render()
    (server,) = pods(made["destination"])
    labels = server["metadata"]["labels"].items()
    assert labels >= made["destination"]["Service", "dvm"]["spec"]["selector"].items()
    ingress = made["destination"]["NetworkPolicy", "allow-ingress-to-rsync-server"]["spec"]
    assert labels >= ingress["podSelector"]["matchLabels"].items()
    egress = made["source"]["NetworkPolicy", "allow-egress-from-rsync-clients"]["spec"]
    for client in pods(made["source"]):
        assert client["metadata"]["labels"].items() >= egress["podSelector"]["matchLabels"].items()


def test_egress_is_to_the_next_hop_and_to_names_where_there_is_one() -> None:
    def rules(**changes: Any) -> Any:
        return render(**changes)["source"]["NetworkPolicy", "allow-egress-from-rsync-clients"]["spec"]["egress"]

    name = rules()
    assert [sorted(port["port"] for port in rule["ports"]) for rule in name] == [[3128], [5353, 5353]]
    (only,) = rules(via=parse_proxy_url("http://192.0.2.9:3128"))
    assert only == {"ports": [{"protocol": "TCP", "port": 3128}], "to": [{"ipBlock": {"cidr": "192.0.2.9/32"}}]}
    assert rules(via=None)[0]["ports"] == [{"protocol": "TCP", "port": 443}]
