"""The control API: HTTP on a Unix socket, for `ferryman status|reload|stop|drain|learned`; and its client.

    GET  /v1/status    everything counted and known, as JSON
    GET  /v1/sessions  {"sessions": [...]}: every live connection (runtime.Session)
    POST /v1/reload    {"ok": bool, "messages": [...]}
    POST /v1/stop      {"now": bool}; the answer comes before the end
    POST /v1/drain     accept nothing more, end when the last connection has
    GET  /v1/learned   {"learned": [{"listener", "client", "name", "seconds"}]}: not bumped for so long
    POST /v1/learned/forget?listener=&client=&name=    {"forgotten": int}; what is left out stands for all

Who may open the socket may use it: it is made with mode 0600. From a shell:
`curl --unix-socket PATH http://ferryman/v1/status`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

from ferryman.errors import ControlError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ferryman.controlplane.runtime import Session
    from ferryman.controlplane.snapshot import Snapshot
    from ferryman.controlplane.web import WebServer

TIMEOUT: Final = 60.0  # seconds the client waits for an answer; a reload may have to read large files


class Controlled(Protocol):
    """What the API acts on: the supervisor."""

    def snapshot(self) -> Snapshot: ...
    async def reload(self) -> tuple[bool, list[str]]: ...
    def begin_stop(self, drain: bool) -> None: ...
    async def sessions(self) -> list[Session]: ...
    def learned_entries(self) -> list[dict[str, Any]]: ...
    def forget_learned(self, listener: str, client: str, name: str) -> int: ...


def default_path() -> str:
    """Where the control socket is unless the configuration or --control says otherwise."""
    if os.geteuid() == 0:
        return "/run/ferryman/control.sock"
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/ferryman-{os.getuid()}"
    return os.path.join(folder, "ferryman-control.sock")


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    """All of it but for what the plan says of servers, which has private keys among it."""
    told = dataclasses.asdict(snapshot)
    for backend in told["backends"]:
        for server in backend["servers"]:
            del server["state"]["server"]
    return told


async def serve(controlled: Controlled, sock: socket.socket) -> WebServer:
    """Answer on a listening socket, until the server that is returned is stopped."""
    from ferryman.controlplane.web import WebServer

    server = WebServer(control_app(controlled))
    await server.start([sock])
    return server


def control_app(controlled: Controlled) -> Starlette:
    """The application that the supervisor serves on its control socket."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def status(request: Request) -> JSONResponse:
        return JSONResponse(_plain(controlled.snapshot()))

    async def sessions(request: Request) -> JSONResponse:
        return JSONResponse({"sessions": await controlled.sessions()})

    async def reload(request: Request) -> JSONResponse:
        ok, messages = await controlled.reload()
        return JSONResponse({"ok": ok, "messages": messages})

    async def stop(request: Request) -> JSONResponse:
        controlled.begin_stop(drain=False)
        return JSONResponse({"ok": True})

    async def drain(request: Request) -> JSONResponse:
        controlled.begin_stop(drain=True)
        return JSONResponse({"ok": True})

    async def learned(request: Request) -> JSONResponse:
        return JSONResponse({"learned": controlled.learned_entries()})

    async def forget(request: Request) -> JSONResponse:
        wanted = [request.query_params.get(key, "") for key in ("listener", "client", "name")]
        return JSONResponse({"forgotten": controlled.forget_learned(*wanted)})

    return Starlette(
        routes=[
            Route("/v1/status", status, methods=["GET"]),
            Route("/v1/sessions", sessions, methods=["GET"]),
            Route("/v1/reload", reload, methods=["POST"]),
            Route("/v1/stop", stop, methods=["POST"]),
            Route("/v1/drain", drain, methods=["POST"]),
            Route("/v1/learned", learned, methods=["GET"]),
            Route("/v1/learned/forget", forget, methods=["POST"]),
        ]
    )


class Client:
    """Talks to a running ferryman. Every method raises ControlError when that fails."""

    def __init__(self, path: str = "") -> None:
        self.path = path or default_path()

    def status(self) -> dict[str, Any]:
        """The snapshot, as plain data."""
        return self._ask("GET", "/v1/status")

    def sessions(self) -> list[dict[str, Any]]:
        """Every live connection (runtime.Session, as plain data)."""
        return list(self._ask("GET", "/v1/sessions")["sessions"])

    def reload(self) -> dict[str, Any]:
        """{"ok": bool, "messages": [str]}: the present plan stays unless ok."""
        return self._ask("POST", "/v1/reload")

    def stop(self) -> None:
        """Cut what is open and end."""
        self._ask("POST", "/v1/stop")

    def drain(self) -> None:
        """Accept nothing more; end with the last connection."""
        self._ask("POST", "/v1/drain")

    def learned(self) -> list[dict[str, Any]]:
        """Clients that are not bumped for a name: {"listener", "client", "name", "seconds"} each."""
        return list(self._ask("GET", "/v1/learned")["learned"])

    def forget_learned(self, listener: str = "", client: str = "", name: str = "") -> int:
        """Bump these again, "" stands for all; how many there were."""
        query = urlencode({"listener": listener, "client": client, "name": name})
        return int(self._ask("POST", f"/v1/learned/forget?{query}")["forgotten"])

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        from http.client import HTTPConnection, HTTPException  # not needed by who serves, and takes its time

        connection = HTTPConnection("ferryman")
        try:
            connection.sock = sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(TIMEOUT)
            sock.connect(self.path)
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise ControlError(f"ferryman at {self.path} answered {response.status} {response.reason}")
            answer = json.loads(body)
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):  # the last: it ends just now
            raise ControlError(
                f"no ferryman is running behind {self.path}; --control names another control socket"
            ) from None
        except PermissionError:
            raise ControlError(f"no permission to use {self.path}; run as the user that started ferryman") from None
        except (OSError, HTTPException, ValueError) as error:
            raise ControlError(f"talking to ferryman at {self.path} failed: {error}") from None
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise ControlError(f"what answers at {self.path} is no ferryman")
        return answer
