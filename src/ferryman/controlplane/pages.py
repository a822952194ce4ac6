"""The stats page, its CSV and JSON, /metrics and /healthz, as an ASGI application.

The supervisor builds one application per listener of mode "pages" and serves it (web) on the listener's sockets. URLs
and options are HAProxy's (its configuration manual, "stats uri"): the URI is a prefix of path and query, what follows
it are options. Reads the view, changes nothing; shows no secret, and no address of a server to readers who did not have
to log in.
"""

from __future__ import annotations

import base64
import binascii
import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import prometheus_client
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ferryman import plan
from ferryman.controlplane import metrics, snapshot, statscsv, wording
from ferryman.controlplane.snapshot import Snapshot, Table, View

if TYPE_CHECKING:
    import jinja2

_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
_REASONS: Final = {
    401: ("401 Unauthorized", "This page needs a user and a password."),
    405: ("405 Method Not Allowed", "Pages can only be read."),
    503: ("503 Service Unavailable", "Nothing is served at this address."),
}


def pages_app(pages: plan.Pages, view: View) -> Starlette:
    """The application of one pages listener."""
    site = _Site(pages, view)
    return Starlette(
        routes=[Route("/{rest:path}", site.answer)],
        exception_handlers={HTTPException: site.refuse},
    )


@dataclass(frozen=True, slots=True)
class Options:
    """What follows the URI: ";up;norefresh" and the like. Unknown words are passed over, as HAProxy does."""

    words: frozenset[str] = frozenset()
    scope: str = ""  # part of a proxy's name

    @classmethod
    def parse(cls, rest: str) -> Options:
        words, scope = set(), ""
        for part in rest.replace("?", ";").replace("&", ";").split(";"):
            name, equals, value = part.partition("=")
            if equals and name == "scope":
                scope = unquote(value)
            elif not equals:
                words.add(name)
        return cls(frozenset(words & {"csv", "json", "norefresh", "up"}), scope)

    def toggled(self, word: str) -> str:
        """These options with `word` switched, as the end of a URL."""
        words = sorted(self.words ^ {word})
        return "".join(f";{word}" for word in words) + (f";scope={quote(self.scope)}" if self.scope else "")


class _Site:
    def __init__(self, pages: plan.Pages, view: View) -> None:
        self.pages = pages
        self.view = view
        self.accounts = [f"{user}:{password}".encode() for user, password in pages.users]

    async def answer(self, request: Request) -> Response:
        path, query = request.scope["raw_path"], request.scope["query_string"]
        target = (path + b"?" + query if query else path).decode("latin-1")
        if self.pages.metrics and path in (b"/healthz", b"/metrics") and not self.pages.uri.startswith(path.decode()):
            return self.health() if path == b"/healthz" else self.metrics(request)
        if not target.startswith(self.pages.uri):
            raise HTTPException(503)
        self.authorise(request)
        options = Options.parse(target[len(self.pages.uri) :])
        return self.statistics(options, () if options.words & {"csv", "json"} else await self.view.tables())

    async def refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        # whatever Starlette itself does not find ("OPTIONS *") is not served here either
        status = error.status_code if error.status_code in _REASONS else 503
        title, text = _REASONS[status]
        body = f"<html><body><h1>{title}</h1>\n{text}\n</body></html>\n"
        return Response(body, status, {**_HEADERS, **(error.headers or {})}, "text/html")

    def authorise(self, request: Request) -> None:
        """Basic authentication (RFC 7617). The time it takes tells nothing about how much of a password was right."""
        if not self.accounts:
            return
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            given = b""
        matches = [secrets.compare_digest(given, account) for account in self.accounts]
        if not any(matches):
            realm = self.pages.realm.replace("\\", "\\\\").replace('"', '\\"')
            raise HTTPException(401, headers={"WWW-Authenticate": f'Basic realm="{realm}"'})

    def health(self) -> Response:
        """For load balancers and orchestrators: open to everybody, so it tells one word only."""
        healthy = snapshot.take(self.view).healthy
        return Response("ok\n" if healthy else "degraded\n", 200 if healthy else 503, _HEADERS, "text/plain")

    def metrics(self, request: Request) -> Response:
        self.authorise(request)
        body = metrics.render(self.shown(Options()))
        return Response(body, 200, {**_HEADERS, "Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

    def statistics(self, options: Options, tables: Sequence[Table]) -> Response:
        shown = self.shown(options)
        if options.words & {"csv", "json"}:
            table = [
                row
                for row in statscsv.rows(shown, addresses=bool(self.accounts))
                if row.running or "up" not in options.words
            ]
            if "csv" in options.words:
                return Response(statscsv.to_csv(table), 200, _HEADERS, "text/plain")
            return Response(statscsv.to_json(table), 200, _HEADERS, "application/json")
        refresh = 0 if self.pages.refresh is None or "norefresh" in options.words else max(round(self.pages.refresh), 1)
        nonce = secrets.token_urlsafe(16)
        headers = {
            **_HEADERS,
            "Content-Security-Policy": f"{_HEADERS['Content-Security-Policy']}; img-src data:; "
            f"style-src 'nonce-{nonce}'",
            **({"Refresh": str(refresh)} if refresh else {}),
        }
        body = _template().render(
            snapshot=shown,
            process=shown.process,
            tables=tables,
            pages=self.pages,
            options=options,
            refresh=refresh,
            nonce=nonce,
            addresses=bool(self.accounts),
        )
        return Response(body, 200, headers, "text/html")

    def shown(self, options: Options) -> Snapshot:
        """The present moment, without the proxies that are out of scope."""
        everything = snapshot.take(self.view)

        def in_scope(name: str) -> bool:
            return options.scope in name and (not self.pages.scope or name in self.pages.scope)

        return replace(
            everything,
            listeners=tuple(row for row in everything.listeners if in_scope(row.name)),
            backends=tuple(row for row in everything.backends if in_scope(row.name)),
            certificates=tuple(row for row in everything.certificates if in_scope(row.listener)),
        )


@functools.cache
def _template() -> jinja2.Template:
    """When the first page is asked for: it takes longer to read than everything else a supervisor starts with."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": wording.duration,
        "size": wording.size,
        "number": wording.number,
        "moment": wording.moment,
    }
    return environment.get_template("stats.html")
