"""What `ferryman tproxy up`, `down`, `apply` and `heal` make of a hypervisor host: devices, namespaces, nftables."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from hypervisor import Host

from ferryman.opennebula.names import MAC, SETTINGS, STATE, door

SERVICES = """
:tproxy_debug_level: 2
:tproxy:
- :service_port: 5030
  :remote_addr: 10.11.12.13
  :remote_port: 5030
- :service_port: 1234
  :remote_addr: 10.11.12.34
  :remote_port: 1234
  :networks: [vnet0]
"""
pytestmark = pytest.mark.timeout(600)  # hundreds of processes, on machines of any pace
UP = ("up", "br0", "--network", "vnet0")


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as host:
        host.write_settings(SERVICES)
        host.bridge("br0")
        yield host


def seen(host: Host, *bridges: str) -> str:
    """All there is, without the numbers that the kernel gives."""
    inside = [f"ip -n one_tproxy_{bridge} address; ip -n one_tproxy_{bridge} route" for bridge in bridges or ["br0"]]
    commands = ["nft list ruleset", "ip netns list", "ls /sys/class/net", "ip link show type veth", *inside]
    text = host.run("sh", "-c", f"exec 2>&1; {'; '.join(commands)}", check=False).stdout
    return re.sub(r"(?m)^\d+: |@if\d+| \(id: \d+\)|link-netns(id)? \S+|state \S+", "", text)


def database(host: Host) -> dict[str, list[str]]:
    """Bridges and what is reached at their ports."""
    listed = json.loads(host.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    maps = [each["map"] for each in listed if "map" in each]
    return {
        each["name"]: [f"{port} {':'.join(map(str, goal['concat']))}" for port, goal in each.get("elem", [])]
        for each in maps
    }


def remembered(host: Host) -> dict[str, dict[str, object]]:
    bridges: dict[str, dict[str, object]] = json.loads(host.path(STATE).read_text())["bridges"]
    return bridges


def test_it_looks_as_in_the_manual(host: Host) -> None:
    host.driver("up", "br0", "--network", "vnet0")
    assert host.run("nft", "list", "table", "ip", "one_tproxy").stdout == (
        "table ip one_tproxy {\n"
        "\tmap ep_br0 {\n"
        "\t\ttype inet_service : ipv4_addr . inet_service\n"
        "\t\telements = { 1234 : 10.11.12.34 . 1234, 5030 : 10.11.12.13 . 5030 }\n"
        "\t}\n"
        "}\n"
    )
    chain = host.run("nft", "list", "chain", "bridge", "one_tproxy", "ch_br0").stdout.splitlines()
    assert chain[2] == "\t\ttype filter hook forward priority filter; policy accept;"
    assert re.fullmatch(r'\t\t(meta ibrname "br0" oifname != "br0b"|oifname != @doors) arp operation request '
                        r"arp daddr ip 169\.254\.16\.9 drop", chain[3])  # fmt: skip
    assert host.ip("netns list").split()[0] == "one_tproxy_br0"
    address = host.run("ip", "netns", "exec", "one_tproxy_br0", "ip", "address").stdout
    assert re.sub(r"^\d+: |@if\d+|id \d+$", "", address, flags=re.M).splitlines() == [
        "lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN group default qlen 1000",
        "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00",
        "br0a: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000",
        f"    link/ether {MAC} brd ff:ff:ff:ff:ff:ff link-netns",
        "    inet 169.254.16.9/32 scope global br0a",
        "       valid_lft forever preferred_lft forever",
        "    inet6 fe80::a9fe:1009/64 scope link ",
        "       valid_lft forever preferred_lft forever",
    ]
    assert host.run("ip", "netns", "exec", "one_tproxy_br0", "ip", "route").stdout == "default dev br0a scope link \n"
    assert "master br0" in host.ip("link show br0b")


def test_up_may_be_repeated_and_down_leaves_nothing(host: Host) -> None:
    host.run(
        "nft", "-f", "-", text="add table ip other\nadd table bridge other\nadd set bridge other s { type ifname ; }\n"
    )
    before = seen(host)
    assert host.driver("up", "br0", "--network", "vnet0").stderr == ""
    once = seen(host)
    assert once != before
    host.driver("up", "br0", "--network", "vnet0")
    assert seen(host) == once
    assert host.driver("down", "br0").stderr == ""
    assert seen(host) == before
    assert host.driver("down", "br0").stderr == "br0 has no proxy\n"
    assert seen(host) == before
    assert not list(host.path("/run/netns").iterdir())


def test_the_last_bridge_takes_the_tables_along(host: Host) -> None:
    host.bridge("br1")
    host.driver("up", "br0")
    alone = seen(host, "br0")
    host.driver("up", "br1")
    assert seen(host, "br0") != alone
    host.driver("down", "br1")
    assert seen(host, "br0") == alone
    host.driver("down", "br0")
    assert host.run("nft", "list", "ruleset").stdout == ""


def test_several_at_once(host: Host) -> None:
    names = ["br0", "br1", "br2"]
    for bridge in names[1:]:
        host.bridge(bridge)
    for bridge in names:
        host.driver("up", bridge, "--network", "vnet0")
    alone = seen(host, *names)
    for verb, *options in (["down"], ["up", "--network", "vnet0"]):
        for ended in host.drivers(*([verb, bridge, *options] for bridge in [*names, *names])):
            assert ended.returncode == 0, ended.stderr
        if verb == "down":
            assert host.run("nft", "list", "ruleset").stdout == ""
    assert sorted(seen(host, *names).splitlines()) == sorted(alone.splitlines())


KILLER = """#!/bin/sh
# every call is a step, and every line of a batch is one
step() {
    read -r count </run/steps/count; read -r last </run/steps/last
    count=$((count + 1))
    echo $count >/run/steps/count
    if [ $count = $last ]; then kill -9 $PPID; exit 1; fi
}
PATH=${PATH#/run/steps:}
case "$*" in
    *-batch*) while IFS= read -r line || [ -n "$line" ]; do step; echo "$line" | PROGRAM "$@" || exit 1; done ;;
    *) step; exec PROGRAM "$@" ;;
esac
"""


class Steps:
    """Runs the driver with ip and nft counted, and kills it at a step."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.path("/run/steps").mkdir()
        for program in ("ip", "nft"):
            file = host.path(f"/run/steps/{program}")
            file.write_text(KILLER.replace("PROGRAM", program))
            file.chmod(0o755)

    def driver(self, last: int, *arguments: str) -> int:
        """The exit code, after the number of steps has been written to `taken`."""
        self.host.path("/run/steps/count").write_text("0\n")
        self.host.path("/run/steps/last").write_text(f"{last}\n")
        return self.host.driver(*arguments, check=False, path="/run/steps:").returncode

    @property
    def taken(self) -> int:
        return int(self.host.path("/run/steps/count").read_text())


def test_killed_at_any_step_of_up_the_next_up_is_right(host: Host) -> None:
    steps = Steps(host)
    assert steps.driver(0, *UP) == 0
    total, right = steps.taken, seen(host)
    assert total > 8
    for last in range(1, total + 1):
        host.driver("down", "br0")
        assert steps.driver(last, *UP) != 0
        host.driver(*UP)
        assert seen(host) == right, f"killed at step {last}"


def test_killed_at_any_step_of_down_up_and_down_are_right(host: Host) -> None:
    steps, empty = Steps(host), seen(host)
    host.driver(*UP)
    right = seen(host)
    assert steps.driver(0, "down", "br0") == 0
    total = steps.taken
    assert total > 5
    for last in range(1, total + 1):
        host.driver(*UP)
        assert steps.driver(last, "down", "br0") != 0
        verb, there = ((*UP,), right) if last % 2 else (("down", "br0"), empty)
        host.driver(*verb)
        assert seen(host) == there, f"killed at step {last}, then {verb[0]}"


def test_heal_completes_what_was_killed(host: Host) -> None:
    steps = Steps(host)
    assert steps.driver(0, *UP) == 0
    total, right = steps.taken, seen(host)
    for last in range(2, total + 1, 2):
        host.driver("down", "br0")
        assert steps.driver(last, *UP) != 0
        host.driver("heal")
        assert seen(host) == right, f"killed at step {last}"
        assert host.driver("heal").stderr == ""


OPENNEBULA = """
ip link add br0b type veth peer name br0a
ip link set dev br0b master br0 up
ip netns add one_tproxy_br0
ip link set dev br0a netns one_tproxy_br0
ip -n one_tproxy_br0 address replace 169.254.16.9/32 dev br0a
ip -n one_tproxy_br0 link set br0a up
ip -n one_tproxy_br0 route replace default dev br0a
"""
"""What OpenNebula's own driver does, step by step."""


@pytest.mark.parametrize("count", range(1, 8))
def test_what_opennebula_left_is_taken_over(host: Host, count: int) -> None:
    host.driver(*UP)
    right = seen(host)
    host.driver("down", "br0")
    for command in OPENNEBULA.split("\n")[1 : count + 1]:
        host.run(*command.split())
    host.driver(*UP)
    # it had addresses of its own making
    made = r"(?m)^    inet6 fe80::(?!a9fe:1009).*\n.*\n|link/ether (?!02:00:a9:fe:10:09)\S+"
    assert re.sub(made, "", seen(host)) == re.sub(made, "", right)
    host.driver("down", "br0")
    assert host.run("nft", "list", "ruleset").stdout == ""


def test_strict_hosts(host: Host) -> None:
    """New namespaces may have the strict ARP settings of the host."""
    host.run("ip", "netns", "add", "one_tproxy_br0")
    inside = ("ip", "netns", "exec", "one_tproxy_br0", "sysctl", "-n")
    keys = [f"net.ipv4.conf.{each}.arp_ignore" for each in ("all", "default")]
    keys += [f"net.ipv6.conf.{each}.accept_ra" for each in ("all", "default")]
    host.run(*inside[:-1], "-w", *(f"{key}=1" for key in keys))
    host.driver(*UP)
    keys += ["net.ipv4.conf.br0a.arp_ignore", "net.ipv6.conf.br0a.accept_ra", "net.ipv4.conf.br0a.forwarding"]
    assert host.run(*inside, *keys).stdout.split() == ["0"] * len(keys)


def test_a_file_that_is_no_namespace_any_more(host: Host) -> None:
    host.driver(*UP)
    right = seen(host)
    host.driver("down", "br0")
    host.path("/run/netns/one_tproxy_br0").touch()
    host.driver(*UP)
    assert seen(host) == right
    host.run("umount", "/run/netns/one_tproxy_br0")
    host.driver("down", "br0")
    assert not list(host.path("/run/netns").iterdir())


def test_a_device_of_somebody_else_is_left_alone(host: Host) -> None:
    host.bridge("br0b")
    before = seen(host)
    said = host.driver(*UP, check=False)
    assert said.returncode == 1
    assert "there is a device br0b that is not the bridge's veth but bridge; rename it" in said.stderr
    host.driver("down", "br0")
    assert seen(host) == before


def test_the_largest_packets_and_the_longest_name(host: Host) -> None:
    bridge = "fifteen-letters"
    host.bridge(bridge)
    host.ip(f"link set {bridge} mtu 9000")
    host.driver("up", bridge)
    doors = [line.split()[1].partition("@")[0] for line in host.ip(f"-o link show master {bridge}").splitlines()]
    assert doors == [door(bridge)[0]]
    assert f"{door(bridge)[1]}@" in (inside := host.ip("link", namespace=f"one_tproxy_{bridge}"))
    assert "mtu 9000" in inside
    assert "mtu 9000" in host.ip(f"link show {bridge}")
    assert database(host) == {f"ep_{bridge}": ["5030 10.11.12.13:5030"]}
    host.driver("down", bridge)
    assert host.run("nft", "list", "ruleset").stdout == ""


def test_the_vlan_of_the_guests(host: Host) -> None:
    """Not every kernel's bridges tell VLANs apart, so it is only looked at what bridge(8) is told."""
    host.path("/run/told").mkdir()
    host.path("/run/told/bridge").write_text("#!/bin/sh\ncat >/run/told/it\n")
    host.path("/run/told/bridge").chmod(0o755)
    host.driver("up", "br0", "--vlan", "100", path="/run/told:")
    told = ["vlan add dev br0b vid 100 pvid untagged", "vlan del dev br0b vid 1-99", "vlan del dev br0b vid 101-4094"]
    assert host.path("/run/told/it").read_text().splitlines() == told


def test_no_such_bridge(host: Host) -> None:
    before = seen(host)
    for name, expected in (
        ("br7", "ferryman: there is no bridge br7; there are br0"),
        ("lo", "ferryman: lo is no bridge; there are br0"),
        ("a b", "ferryman: 'a b' is no name of a device: letters, digits, `_`, `-` and `.`, 15 at most"),
        ("sixteen-letters-", "ferryman: 'sixteen-letters-' is no name of a device: "
         "letters, digits, `_`, `-` and `.`, 15 at most"),
    ):  # fmt: skip
        said = host.driver("up", name, check=False)
        assert said.returncode == 1
        assert said.stderr.startswith(expected)
    said = host.driver("up", "br0", "--uplink", "eth9", check=False)
    assert (said.returncode, said.stderr) == (1, "ferryman: there is no device eth9 to be an uplink of br0\n")
    assert seen(host) == before


BAD = {
    "a scalar for networks": ":tproxy:\n- :service_port: 1\n  :remote_addr: 1.2.3.4\n  :remote_port: 1\n"
    "  :networks: vnet0\n",
    "a port that is none": ":tproxy:\n- :service_port: 70000\n  :remote_addr: 1.2.3.4\n  :remote_port: x\n",
    "an unknown key": ":tproxy:\n- :service_port: 1\n  :remote_addr: 1.2.3.4\n  :remote_port: 1\n  :network: [a]\n",
    "not YAML": ":tproxy: [\n",
    "not text": "\0",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_settings_that_are_wrong_change_nothing(host: Host, text: str) -> None:
    host.driver(*UP)
    before, known = seen(host), remembered(host)
    host.write_settings(text)
    for command in (UP, ("up", "br0", "--network", "vnet7"), ("apply",)):
        said = host.driver(*command, check=False)
        assert said.returncode == 1
        assert "OpenNebulaNetwork.conf" in said.stderr
        assert (seen(host), remembered(host)) == (before, known)
    host.driver("heal")
    assert seen(host) == before


def test_without_services_nothing_is_made(host: Host) -> None:
    before = seen(host)
    for text in (None, "", ":tproxy_debug_level: 2\n", ":tproxy: []\n", ":tproxy:\n"):
        if text is None:
            host.path(SETTINGS).unlink()
        else:
            host.write_settings(text)
        assert host.driver(*UP).stderr == ""
        assert seen(host) == before
    host.write_settings(SERVICES)
    host.driver("apply")
    assert database(host) == {"ep_br0": ["1234 10.11.12.34:1234", "5030 10.11.12.13:5030"]}
    host.write_settings(":tproxy: []\n")
    host.driver(*UP)
    assert seen(host) == before


def test_networks_add_up(host: Host) -> None:
    host.driver("up", "br0", "--network", "vnet7")
    assert database(host) == {"ep_br0": ["5030 10.11.12.13:5030"]}
    host.driver("up", "br0", "--network", "vnet0")
    host.driver("up", "br0", "--network", "vnet7")
    assert database(host) == {"ep_br0": ["1234 10.11.12.34:1234", "5030 10.11.12.13:5030"]}


def test_apply_brings_all_bridges_to_the_settings(host: Host) -> None:
    host.bridge("br1")
    host.driver(*UP)
    host.driver("up", "br1", "--network", "7")
    inside = host.network("one_tproxy_br0")
    before = os.stat(inside).st_ino
    host.write_settings(SERVICES.replace("10.11.12.13", "10.11.12.14").replace("[vnet0]", "['7']"))
    host.driver("apply")
    assert database(host) == {
        "ep_br0": ["5030 10.11.12.14:5030"],
        "ep_br1": ["1234 10.11.12.34:1234", "5030 10.11.12.14:5030"],
    }
    assert os.stat(inside).st_ino == before
    host.ip("link delete br1")
    assert host.driver("apply").stderr == "br1 is gone, so its proxy is removed and forgotten\n"
    assert database(host) == {"ep_br0": ["5030 10.11.12.14:5030"]}
    assert "br1" not in host.ip("netns list")


def test_apply_says_which_bridges_it_does_not_know(host: Host) -> None:
    text = "add table ip one_tproxy\nadd map ip one_tproxy ep_br7 { type inet_service : ipv4_addr . inet_service ; }\n"
    host.run("nft", "-f", "-", text=text)
    said = host.driver("apply").stderr
    assert said.startswith("br7 was brought up by OpenNebula, and which networks it carries is not known here")
    assert database(host) == {"ep_br7": []}


def test_names_are_resolved_by_the_host(host: Host) -> None:
    hosts = host.path("/run/hosts")
    hosts.write_text("127.0.0.1 localhost\n10.1.2.3 one.test\n")
    host.run("mount", "--bind", "/run/hosts", "/etc/hosts")
    host.write_settings(SERVICES.replace("10.11.12.13", "one.test").replace("10.11.12.34", "nowhere.invalid"))
    said = host.driver(*UP).stderr
    assert "nowhere.invalid has no IPv4 address: port 1234 is left out" in said
    assert database(host) == {"ep_br0": ["5030 10.1.2.3:5030"]}
    hosts.write_text("10.1.2.4 one.test\n10.1.2.5 nowhere.invalid\n")
    assert host.driver("apply").stderr == ""
    assert database(host) == {"ep_br0": ["1234 10.1.2.5:1234", "5030 10.1.2.4:5030"]}
    hosts.write_text("10.1.2.5 nowhere.invalid\n")
    said = host.driver("apply").stderr
    assert "one.test has no IPv4 address now: 10.1.2.4 stays" in said
    assert database(host) == {"ep_br0": ["1234 10.1.2.5:1234", "5030 10.1.2.4:5030"]}


def test_what_was_lost_is_healed(host: Host) -> None:
    host.driver(*UP)
    right = seen(host)
    for loss, why in (
        ("nft flush ruleset", "nftables has no map ep_br0"),
        ("nft delete table bridge one_tproxy", "nftables has no chain ch_br0"),
        ("nft delete map ip one_tproxy ep_br0", "nftables has no map ep_br0"),
        ("ip netns delete one_tproxy_br0", "the namespace one_tproxy_br0 is missing"),
        ("ip link delete br0b", "the device br0b is missing"),
        ("ip link set br0b nomaster", "br0b is not in the bridge br0"),
        ("ip link set br0b down", "br0b is down"),
        ("ip -n one_tproxy_br0 address flush dev br0a scope global", "br0a has not the address 169.254.16.9"),
        ("ip -n one_tproxy_br0 route delete default", "the default route is missing"),
        (
            "ip -n one_tproxy_br0 link set br0a mtu 1400",
            "br0a has the MTU 1400, the bridge has 1500: large packets may get lost",
        ),
        ("ip -n one_tproxy_br0 link set br0a address 02:00:00:00:00:01", "br0a has not the address 02:00:a9:fe:10:09"),
    ):
        host.run(*loss.split())
        assert host.driver("heal").stderr == f"br0: made again, since {why}\n"
        # the address comes after the other one
        assert sorted(seen(host).splitlines()) == sorted(right.splitlines()), loss
    assert host.driver("heal").stderr == ""


def test_a_host_that_has_started_anew(host: Host) -> None:
    host.driver(*UP)
    right = seen(host)
    known = host.path(STATE).read_text()
    with Host() as after:
        after.path(STATE).parent.mkdir()
        after.path(STATE).write_text(re.sub(r'"boot": ".*"', '"boot": "another"', known))
        assert after.driver("heal").stderr == (
            "br0 is gone, and its proxy waits for it; `ferryman tproxy down br0` forgets it\n"
        )
        # somebody else's bridge came first
        after.run("nft", "-f", "-", text="add table ip one_tproxy\nadd table bridge one_tproxy\n")
        after.bridge("br0")
        assert after.driver("heal").stderr == "br0: made again, since nftables has no map ep_br0\n"
        assert sorted(seen(after).splitlines()) == sorted(right.splitlines())


def test_what_opennebula_took_down_stays_down(host: Host) -> None:
    host.driver(*UP)
    for command in (
        "nft delete map ip one_tproxy ep_br0",
        "nft delete chain bridge one_tproxy ch_br0",
        "ip link delete br0b",
        "ip netns delete one_tproxy_br0",
    ):
        host.run(*command.split())
    assert host.driver("heal").stderr == "br0: OpenNebula took its proxy down, so it is forgotten\n"
    assert remembered(host) == {}
    assert host.run("nft", "list", "ruleset").stdout == ""


def test_a_bridge_with_another_name(host: Host) -> None:
    host.driver(*UP)
    host.ip("link set br0 down")
    host.ip("link set br0 name br9 up")
    said = host.driver("heal").stderr
    assert said == "br0 is called br9 now: `ferryman tproxy up br9` with its networks\n"
    assert host.driver("up", "br9", "--network", "vnet0").stderr == "br0 is called br9 now: what it had is removed\n"
    assert list(database(host)) == ["ep_br9"]
    assert host.ip("netns list").split()[0] == "one_tproxy_br9"
    assert "br0" not in host.ip("link")


def test_a_failure_leaves_nothing(host: Host) -> None:
    before = seen(host)
    host.path("/run/broken").mkdir()
    nft = host.path("/run/broken/nft")
    nft.write_text('#!/bin/sh\ncase "$*" in "-f -") echo "no memory" >&2; exit 1 ;; esac\nPATH=/usr/sbin nft "$@"\n')
    nft.chmod(0o755)
    said = host.driver(*UP, check=False, path="/run/broken:")
    assert (said.returncode, said.stderr) == (1, "ferryman: nft -f -: no memory\n")
    assert seen(host) == before
    assert remembered(host) == {}
    # one that was there stays as it was
    host.driver("up", "br0")
    before, known = seen(host), remembered(host)
    assert host.driver(*UP, check=False, path="/run/broken:").returncode == 1
    assert (seen(host), remembered(host)) == (before, known)


def test_what_cannot_be_read_is_not_empty(host: Host) -> None:
    host.driver(*UP)
    before = seen(host)
    host.path("/run/broken").mkdir()
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho '{'\n"):
        host.path("/run/broken/nft").write_text(text)
        host.path("/run/broken/nft").chmod(0o755)
        for verb in (["heal"], ["down", "br0"], UP):
            said = host.driver(*verb, check=False, path="/run/broken:")
            assert said.returncode == 1
            assert said.stderr.startswith("ferryman: nft ")
        assert seen(host) == before


def test_a_memory_that_is_damaged(host: Host) -> None:
    host.driver(*UP)
    before = seen(host)
    host.path(STATE).write_text("{")
    for command in (UP, ("down", "br0"), ("apply",), ("heal",)):
        said = host.driver(*command, check=False)
        assert said.returncode == 1
        assert f"{STATE} cannot be used: it is damaged" in said.stderr
        assert "remove it, then run `ferryman tproxy up` for each bridge" in said.stderr
    assert seen(host) == before
