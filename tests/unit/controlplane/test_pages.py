"""The pages over HTTP: what a browser, a scraper and a stranger get."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from plans import StillView, listener, make_plan, server, shop

from ferryman.controlplane.pages import Options, pages_app
from ferryman.controlplane.snapshot import Table
from ferryman.controlplane.statscsv import HEADER
from ferryman.controlplane.web import WebServer
from ferryman.plan import Certificate, Pages, Prewarm, Settings, TlsAccept, TlsCase


class Site:
    """A client of a running page."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self, target: str, method: str = "GET", user: str = "", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = dict(headers or {})
        if user:
            sent["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        connection.request(method, target, headers=sent)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response, body

    def get(self, target: str, user: str = "") -> str:
        response, body = self.request(target, user=user)
        assert response.status == 200, body
        return body

    def status(self, target: str, method: str = "GET", user: str = "") -> int:
        return self.request(target, method, user)[0].status


@contextlib.contextmanager
def serving(pages: Pages, view: StillView) -> Iterator[Site]:
    """The page on a port of the kernel's choice, served by its own event loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        web = WebServer(pages_app(pages, view))
        asyncio.run_coroutine_threadsafe(web.start([listening]), loop).result(10)
        try:
            yield Site(listening.getsockname()[1])
        finally:
            asyncio.run_coroutine_threadsafe(web.stop(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(60)
            loop.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """An open page at /haproxy?stats, HAProxy's default, that refreshes."""
    with serving(Pages(uri="/haproxy?stats", refresh=10.0), StillView(shop())) as site:
        yield site


@pytest.fixture(scope="module")
def guarded() -> Iterator[Site]:
    with serving(Pages(uri="/stats", users=(("admin", "pass:wörd"), ("eve", "x"))), StillView(shop())) as site:
        yield site


def test_the_page_tells_of_everything(site: Site) -> None:
    response, page = site.request("/haproxy?stats")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Statistics Report for pid 4711" in page
    for text in ("web", "127.0.0.1:8443", "app", "a1", "a2", "a3", "MAINT", "no check", "9.8.7", "edge-1"):
        assert text in page


def test_the_page_needs_nothing_from_elsewhere(site: Site) -> None:
    response, page = site.request("/haproxy?stats")
    policy = response.headers["Content-Security-Policy"]
    nonce = re.search(r"style-src 'nonce-([^']+)'", policy)
    assert nonce is not None
    assert f'<style nonce="{nonce[1]}">' in page
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in page
    assert not re.findall(r"(?:src|href|url\()=?[\"']?(?:https?:)?//", page)
    assert not re.findall(r'<[^>]+ style="', page), "the policy would refuse style attributes"


def test_headers(site: Site) -> None:
    for target in ("/haproxy?stats", "/haproxy?stats;csv", "/nowhere", "/metrics", "/healthz"):
        headers = site.request(target)[0].headers
        assert headers["Cache-Control"] == "no-cache"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in headers


def test_only_the_page_refreshes_by_itself(site: Site) -> None:
    def refresh(target: str) -> str | None:
        return site.request(target)[0].headers["Refresh"]

    assert refresh("/haproxy?stats") == "10"
    assert refresh("/haproxy?stats;norefresh") is None
    assert refresh("/haproxy?stats;csv") is None


@pytest.mark.parametrize("target", ["/haproxy?stats", "/haproxy?stats;up", "/haproxy?statsX", "/haproxy?stats&x=y"])
def test_the_uri_is_a_prefix(site: Site, target: str) -> None:
    assert "Statistics Report" in site.get(target)


@pytest.mark.parametrize("target", ["/", "/haproxy", "/haproxy?stat", "/x/haproxy?stats", "/HAPROXY?stats"])
def test_any_other_address_is_unavailable(site: Site, target: str) -> None:
    response, body = site.request(target)
    assert response.status == 503
    assert "503 Service Unavailable" in body


def test_csv(site: Site) -> None:
    response, text = site.request("/haproxy?stats;csv;norefresh")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert text.splitlines()[0] == HEADER
    assert len(text.splitlines()) == 10


def test_json(site: Site) -> None:
    response, text = site.request("/haproxy?stats;json")
    assert response.headers["Content-Type"] == "application/json"
    assert len(json.loads(text)) == 9


@pytest.mark.parametrize("target", ["/haproxy?stats;csv;scope=ap", "/haproxy?stats&scope=ap;csv"])
def test_scope_picks_proxies_by_part_of_their_name(site: Site, target: str) -> None:
    assert {line.split(",")[0] for line in site.get(target).splitlines()[1:]} == {"app"}
    assert ">both<" not in site.get("/haproxy?stats;scope=app")


def test_servers_that_are_down_can_be_left_out(site: Site) -> None:
    assert "app,a3" not in site.get("/haproxy?stats;csv;up")
    assert 'id="app/a3"' not in site.get("/haproxy?stats;up")
    assert 'id="app/a3"' in site.get("/haproxy?stats")


def test_options_toggle() -> None:
    options = Options.parse(";up;norefresh;nonsense?scope=a%20%26")
    assert options == Options(frozenset({"up", "norefresh"}), "a &")
    assert options.toggled("up") == ";norefresh;scope=a%20%26"
    assert Options.parse(options.toggled("csv")) == Options(options.words | {"csv"}, "a &")


def test_head_has_no_body(site: Site) -> None:
    response, body = site.request("/haproxy?stats", "HEAD")
    assert (response.status, body) == (200, "")
    assert int(response.headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_cannot_be_written(site: Site, method: str) -> None:
    response, _ = site.request("/haproxy?stats", method)
    assert response.status == 405
    assert "GET" in response.headers["Allow"]


def test_options_star_is_answered(site: Site) -> None:
    assert site.status("*", "OPTIONS") in (405, 503)


@pytest.mark.parametrize(
    "user", ["", "admin", "admin:", "admin:pass", "admin:pass:wörd ", "Admin:pass:wörd", "eve:pass:wörd", ":"]
)
def test_a_wrong_password_opens_nothing(guarded: Site, user: str) -> None:
    for target in ("/stats", "/stats;csv", "/metrics"):
        response, body = guarded.request(target, user=user)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Basic realm="HAProxy Statistics"'
        assert "app" not in body


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ?", "Basic YQ", "Bearer YWRtaW4=", "basic \xff", "Basic " + "A" * 9000]
)
def test_broken_credentials_are_refused(guarded: Site, header: str) -> None:
    assert guarded.request("/stats", headers={"Authorization": header})[0].status == 401


def test_every_user_may_read(guarded: Site) -> None:
    for user in ("admin:pass:wörd", "eve:x"):
        assert "Statistics Report" in guarded.get("/stats", user)
        assert "haproxy_process_build_info" in guarded.get("/metrics", user)


def test_health_is_open_and_short(guarded: Site) -> None:
    assert guarded.get("/healthz") == "ok\n"


def test_addresses_of_servers_are_for_those_who_logged_in(site: Site, guarded: Site) -> None:
    assert "127.0.0.1:8001" in guarded.get("/stats", "eve:x")
    assert "127.0.0.1:8001" in guarded.get("/stats;csv", "eve:x")
    assert "127.0.0.1:8001" not in site.get("/haproxy?stats")
    assert "127.0.0.1:8001" not in site.get("/haproxy?stats;csv")


def test_no_secret_is_shown(guarded: Site) -> None:
    everything = "".join(guarded.get(f"/stats{option}", "eve:x") for option in ("", ";csv", ";json"))
    assert "wörd" not in everything + guarded.get("/metrics", "eve:x")


def test_health_tells_when_a_backend_has_nothing_to_offer() -> None:
    view = StillView(shop())
    view.fail(0)
    view.set_admin(1, "maint")
    with serving(Pages(uri="/stats"), view) as site:
        response, body = site.request("/healthz")
        assert (response.status, body) == (503, "degraded\n")
        assert "1 of 2 backends down" in site.get("/stats")


def test_without_metrics_there_are_no_metrics() -> None:
    with serving(Pages(uri="/stats", metrics=False), StillView(shop())) as site:
        assert site.status("/metrics") == 503
        assert site.status("/healthz") == 503
        assert "/metrics" not in site.get("/stats")


def test_a_page_at_the_metrics_address_stays_the_page() -> None:
    with serving(Pages(uri="/metrics"), StillView(shop())) as site:
        assert "Statistics Report" in site.get("/metrics")


def test_the_version_can_be_hidden_and_the_scope_be_fixed() -> None:
    with serving(Pages(uri="/", hide_version=True, scope=("both",), title="Lab"), StillView(shop())) as site:
        page = site.get("/")
        assert "9.8.7" not in page
        assert "Lab" in page
        assert "backend-both" in page
        assert "backend-app" not in page
        assert "app" not in site.get("/;csv")


def test_names_are_escaped() -> None:
    plan = make_plan([listener("<script>1")], {"a&b": [server('"><img')]}, Settings(node="<i>"))
    with serving(Pages(uri="/stats"), StillView(plan)) as site:
        page = site.get('/stats;scope=<"')
        assert "<script" not in page
        assert '<"' not in page
        page = site.get("/stats")
        assert "&lt;script&gt;1" in page
        assert "a&amp;b" in page
        assert "<img" not in page
        assert "<i>" not in page


def test_certificates_for_one_name_are_told_apart() -> None:
    plan = shop()
    shown = tuple(Certificate("/etc/a.pem", "", "", ("a.example",), 0.0, kind=kind) for kind in ("RSA 2048", "Ed25519"))
    web = replace(plan.listeners[0], tls=(TlsCase(None, "f:1", TlsAccept((shown[0],))),))
    other = replace(plan.listeners[0], id=1, name="other", tls=(TlsCase(None, "f:2", TlsAccept((shown[1],))),))
    with serving(Pages(uri="/stats"), StillView(replace(plan, listeners=(web, other)))) as site:
        page = site.get("/stats")
        assert re.findall(r"a\.example\s+<small>([^<]+)</small>", page) == ["RSA 2048", "Ed25519"]
        assert "/etc/a.pem" not in page  # for those who logged in


def test_no_share_of_sessions_before_the_first() -> None:
    plan = shop()
    plan = replace(
        plan, backends=tuple(replace(backend, prewarm=Prewarm(1, 1, 1.0, 20.0)) for backend in plan.backends)
    )
    view = StillView(plan)
    name = plan.backends[0].name
    with serving(Pages(uri="/stats"), view) as site:
        assert "connections held ready</span>" in site.get("/stats")
        view.count(0, ("backend", name, ""), prewarm_hits=3, prewarm_misses=1)
        assert "held ready, which 75 % of sessions got" in " ".join(site.get("/stats").split())


def test_the_page_of_nothing() -> None:
    with serving(Pages(uri="/stats"), StillView(make_plan([], {"empty": []}))) as site:
        assert "No server." in site.get("/stats")


def test_tables_of_others_are_sections_of_the_page() -> None:
    view = StillView(shop())
    view.more = [
        Table("Bridges", "what there is", ("Bridge", "Leads to", "Total"), (("br0", "<b>", 1234), ("br1", "", 0))),
        Table("Guests", "", ("Guest",), ()),
    ]
    with serving(Pages(), view) as site:
        page = site.get("/")
    assert '<h2 id="table-1">Bridges</h2><span class="what">what there is</span>' in page
    assert '<td class="l check" data-label="Leads to">&lt;b&gt;</td>' in page
    assert '<td class="n " data-label="Total">1\u202f234</td>' in page
    assert page.index('<h2 id="table-2">Guests</h2>') < page.index("None.") < page.index('<h2 id="listeners">')
