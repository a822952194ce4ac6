"""MigrationController resources: the proxy as the controller takes it, and what goes wrong with it and beside it."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from ferryman.cli.main import main
from ferryman.config.dialects import mtc
from ferryman.config.load import Loaded, load
from ferryman.config.render import render
from ferryman.config.source import Source

HEAD = (
    "apiVersion: migration.openshift.io/v1alpha1\nkind: MigrationController\nmetadata: {name: migration-controller}\n"
)
ROUTE = {mtc.ROUTE: "dvm-app.apps.target.example"}
SEED = f"""{HEAD}spec:
  [...]
  stunnel_tcp_proxy: http://username:password@ip:port
"""


def loaded(text: str, route: bool = True) -> tuple[Loaded, list[str]]:
    """What comes of it, and what was found of the dialect's own: that nothing is verified is the compiler's."""
    result = load([Source("mc.yaml", text)], environment=ROUTE if route else {})
    assert result.document.dialect == "mtc"
    found = [str(each).removeprefix("mc.yaml:") for each in result.diagnostics.found]
    return result, [each for each in found if "whoever sits in between" not in each]


def proxied(url: str) -> tuple[Any, list[str]]:
    """The way that a proxy's URL leads to, and what was found."""
    result, found = loaded(f"{HEAD}spec:\n  stunnel_tcp_proxy: '{url}'\n")
    backends: Any = result.document.data.get("backends", {})
    return backends.get("route", {}).get("via"), found


def test_a_right_one() -> None:
    result, found = loaded(f"{HEAD}spec:\n  stunnel_tcp_proxy: http://u:p%40x@10.0.0.1:3128\n")
    assert found == []
    assert result.plan is not None
    (listener,), (backend,) = result.plan.listeners, result.plan.backends
    assert [str(each) for each in listener.bind] == ["127.0.0.1:6443"]
    (server,) = backend.servers
    assert (str(server.address), server.tls and server.tls.server_name) == (f"{ROUTE[mtc.ROUTE]}:443", ROUTE[mtc.ROUTE])
    assert backend.via is not None
    ((hop,),) = backend.via.chains
    assert (str(hop), hop.user, hop.password) == ("http://10.0.0.1:3128", "u", "p@x")


LISTED = """apiVersion: v1
items:
- apiVersion: migration.openshift.io/v1alpha1
  kind: MigrationController
  spec:
    stunnel_tcp_proxy: http://u:p@10.0.0.1
kind: List
"""
AS_JSON = """{
    "apiVersion": "migration.openshift.io/v1alpha1",
    "kind": "MigrationController",
    "spec": {"stunnel_tcp_proxy": "http://u:p@10.0.0.1"}
}"""


@pytest.mark.parametrize("text", [LISTED, AS_JSON, " ".join(AS_JSON.split())])
def test_as_a_cluster_prints_it(text: str) -> None:
    """`oc get migrationcontroller -o yaml` prints a list, -o json its own manner."""
    _, (found,) = loaded(text)
    assert "without a port stunnel takes '10.0.0.1' for a port or service of localhost" in found
    assert "write http://u:***@10.0.0.1:3128" in found


@pytest.mark.parametrize(
    "text",
    ["apiVersion: v1\nkind: Pod\n", '{"apiVersion": "v1", "kind": "Pod"}', "apiVersion: v1\nitems: []\nkind: List\n"],
)
def test_other_objects_of_a_cluster(text: str) -> None:
    _, found = loaded(text)
    assert "there is no MigrationController" in found[-1]
    assert len(found) == 1 or "this Pod is not read" in found[0]


@pytest.mark.parametrize("url", ["", "http://proxy.example:3128"])
def test_no_proxy_and_no_credentials(url: str) -> None:
    way, found = proxied(url)
    assert found == []
    assert way == ([{"url": url}] if url else None)


@pytest.mark.parametrize(
    ("url", "message", "advice"),
    [
        ("http://proxy", "takes 'proxy' for a port or service of localhost", "write http://proxy:3128"),
        ("http://u:hush@proxy", "takes 'proxy' for a port or service of localhost", "write http://u:***@proxy:3128"),
        ("http://proxy:", "takes 'proxy' for a port or service", "write http://proxy:3128"),
        ("proxy:3128", "uses NO proxy, without a word", "write http://proxy:3128"),
        ("u:hush@proxy:3128", "uses NO proxy, without a word", "write http://u:***@proxy:3128"),
        ("proxy", "uses NO proxy", "write http://proxy:3128"),
        ("10.0.0.1:3128", "cannot parse this (there is no scheme)", "as in http://10.0.0.1:3128"),
        (
            "http://u:hush%@h:1",
            "cannot parse this (a raw % begins no escape)",
            "write %25 for it, as in http://u:***@h:1",
        ),
        ("http://u:hush/x@h:1", "cannot parse this (a raw /, ? or #", "as in http://u:***@h:1"),
        ("http://u:hu?sh@h:1", "cannot parse this (a raw /, ? or #", "as in http://u:***@h:1"),
        ("http://u:12/34@h:1", "would go to another host", "as in http://u:***@h:1"),
        ("http://u:12#34@h:1", "would go to another host", "as in http://u:***@h:1"),
        ("http://u:hush x@h:1", "there is a blank in it", "write %20"),
        ('http://u:hu"sh@h:1', 'a raw " ends the text', "write %22 instead"),
        ("http://u:hu\\sh@h:1", "a raw \\ ends the text", "write %5C instead"),
        ("http://[fd00::1]:3128", "keeps the brackets", "http://proxy.example:3128"),
        ("http://u:hush%0ax@h:1", "a line break or the like", "remove %0A"),
        ("http://u:hush%0dx@h:1", "a line break or the like", "remove %0A"),
        ("http://h:0", "port 0 does not exist", ""),
        ("http://ip:port", "ip:port is a placeholder", "http://username:password@10.0.0.1:3128"),
    ],
)
def test_what_goes_wrong(url: str, message: str, advice: str) -> None:
    way, found = proxied(url)
    assert way is None
    assert len(found) == 1
    assert "error: " in found[0]
    assert message in found[0]
    assert advice in found[0]
    assert "hush" not in found[0]


@pytest.mark.parametrize(
    ("url", "message", "hop"),
    [
        ("https://h:1", "the scheme https is ignored", {"url": "http://h:1"}),
        ("socks5://h:1", "the scheme socks5 is ignored", {"url": "http://h:1"}),
        ("//h:1", "the scheme is missing", {"url": "http://h:1"}),
        ("http://u@h:1", "without a password stunnel sends no credentials at all", {"url": "http://h:1"}),
        ("http://u:@h:1", "without a password stunnel sends no credentials at all", {"url": "http://h:1"}),
        ("http://:hush@h:1", "without a user stunnel sends no credentials at all", {"url": "http://h:1"}),
        ("http://u:a@b@h:1", "goes well with Go only", {"url": "http://h:1", "user": "u", "password": "a@b"}),
        ("http://u:a:b@h:1", "goes well with Go only", {"url": "http://h:1", "user": "u", "password": "a:b"}),
        ("http://h:1/path", "what follows the port is ignored", {"url": "http://h:1"}),
    ],
)
def test_what_is_not_what_it_seems(url: str, message: str, hop: dict[str, str]) -> None:
    way, found = proxied(url)
    assert way == [hop]
    assert len(found) == 1
    assert "warning: " in found[0]
    assert message in found[0]
    assert "hush" not in found[0]


def test_the_documents_own_example() -> None:
    """With its `[...]`, alone and within the page of prose that it stands on."""
    _, found = loaded(SEED)
    assert [each.partition(": ")[0] for each in found] == ["5:3", "6:22"]
    assert "[...] is no YAML" in found[0]
    assert "ip:port is a placeholder" in found[1]
    prose = f"# Title: a page\n\n```sh\n{SEED}```\nMore: of it.\n```yaml\nkind: NetworkPolicy\n```\n"
    _, within = loaded(prose)
    assert [each.partition(": ")[2] for each in within] == [each.partition(": ")[2] for each in found]
    assert [each.partition(": ")[0] for each in within] == ["8:3", "9:22"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rsync_endpoint_type: nodeport", "there is no endpoint 'nodeport': the controller takes Route"),
        ("rsync_endpoint_type: NodePort", "a port from 30000 to 32767"),
        ("rsync_endpoint_type: ClusterIP", "port 6443"),
        ("stunnel_verify_ca: true", "stunnel_verify_ca has no effect any more"),
        ("stunnel_verify_ca_level: 2", "stunnel_verify_ca_level has no effect any more"),
        ("rsync_opt_extras: -X", "the option -X never reaches rsync: it is dropped without a word; write --xattrs"),
        ("rsync_opt_extras: [--xattrs, --exclude=a]", "the option --exclude=a never reaches rsync"),
        ("rsync_opt_info: COPY2", "by old versions only"),
        ("rsync_opt_partial: false", "a retry begins each file anew"),
        ("rsync_opt_delete: perhaps", "rsync_opt_delete is true or false"),
        ("rsync_opt_bwlimit: 10M", "rsync_opt_bwlimit is a whole number"),
        ("rsync_opt_bwlimit: 0", "no bandwidth"),
        ("rsync_backoff_limit: 500", "up to 500 attempts"),
        ("rsync_backoff_limit: 0", "0 attempts"),
        ("stunnel_tpc_proxy: http://h:1", "did you mean 'stunnel_tcp_proxy'?"),
    ],
)
def test_traps_beside_it(line: str, message: str) -> None:
    result, found = loaded(f"{HEAD}spec:\n  {line}\n")
    assert result.plan is not None
    assert len(found) == 1
    assert ": warning: " in found[0]
    assert message in found[0]


@pytest.mark.parametrize(
    "line",
    [
        *("rsync_endpoint_type: Route", "rsync_opt_extras: --xattrs --acls -z", "rsync_opt_partial: true"),
        *("rsync_opt_bwlimit: -1", "rsync_backoff_limit: 20", "migration_controller: true", "version: 1.2.3"),
    ],
)
def test_what_is_right(line: str) -> None:
    assert loaded(f"{HEAD}spec:\n  {line}\n")[1] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}stunnel_tcp_proxy: http://h:1\nspec: {{}}\n", "looks for stunnel_tcp_proxy within `spec`"),
        (HEAD, "there is no `spec`"),
        (f"{HEAD}spec:\n  a: [\n", "this is not YAML"),
        (f"{HEAD}spec: {{}}\n---\n{HEAD}spec: {{}}\n", "this is another MigrationController"),
        (f"{HEAD}spec:\n  stunnel_tcp_proxy: [a]\n", "`stunnel_tcp_proxy` takes one value"),
    ],
)
def test_what_is_no_resource(text: str, message: str) -> None:
    result, found = loaded(text)
    assert result.plan is None
    assert any("error: " in each and message in each for each in found)


def test_other_kinds_are_named() -> None:
    _, found = loaded(f"{HEAD}spec: {{}}\n---\nkind: NetworkPolicy\nspec: {{}}\n")
    assert len(found) == 1
    assert "this NetworkPolicy is not read" in found[0]


def test_the_route_has_to_be_said() -> None:
    result, found = loaded(f"{HEAD}spec: {{}}\n", route=False)
    assert len(found) == 1
    assert "FERRYMAN_ROUTE_HOST=" in found[0]
    assert result.plan is not None
    assert str(result.plan.backends[0].servers[0].address) == "dvm-namespace.apps.target.invalid:443"


@pytest.mark.parametrize(
    "url",
    ["http://u:hush-hush@h:1", "u:hush-hush@h:1", "http://u:hush-hush/@h:1", "http://u:x hush-hush@h:1", "hush-hush@h"],
)
def test_no_password_is_shown(url: str) -> None:
    result, _ = loaded(f"{HEAD}spec:\n  stunnel_tcp_proxy: '{url}'\n")
    shown = "\n".join(render(finding, result.sources) for finding in result.diagnostics.found)
    assert "hush-hush" not in shown.replace("http://hush-hush:", "")
    if result.plan is not None:
        assert "hush-hush" not in repr(result.plan)


def test_converting_writes_no_password_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("mtc") / "mc.yaml"
    file.write_text(f"{HEAD}spec:\n  stunnel_tcp_proxy: http://u:hush@h:1\n")
    done = CliRunner().invoke(main, ["convert", str(file)], env=ROUTE)
    assert done.exit_code == 0
    assert "hush" not in done.output
    assert 'password: "${STUNNEL_TCP_PROXY_PASSWORD}"' in done.stdout
    again = load([Source("f.yaml", done.stdout)], environment={mtc.PASSWORD: "hush"})
    direct = load([Source("mc.yaml", file.read_text())], environment=ROUTE)
    assert again.plan is not None
    assert direct.plan is not None
    assert again.plan.backends[0].via == direct.plan.backends[0].via
