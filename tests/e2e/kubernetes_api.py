"""A stand-in for a cluster's API server, over TLS and with a token, for the real kubectl to talk to.

Serves what kubectl asks before anything else (which kinds there are), and lists of what it is given. What is not given
is a kind that the cluster does not have.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import uvicorn
from ferry import PATIENCE, until
from pki import Pki
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Data = dict[str, Any]
TOKEN: Final = "a-token-that-nobody-else-has"


class ApiServer:
    """Listens on loopback; `kubeconfig` is the file that leads there. `forbidden` are kinds that may not be read."""

    def __init__(self, folder: Path, objects: Iterable[Data], forbidden: Iterable[str] = ()) -> None:
        self._objects = list(objects)
        self._forbidden = set(forbidden)
        self.asked: list[str] = []
        pki = Pki(folder)
        pem = pki.issue("api.pem", "127.0.0.1")
        self._socket = socket.create_server(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        application = Starlette(routes=[Route("/{path:path}", self._answer)])
        config = uvicorn.Config(
            application, ssl_certfile=pem, ssl_keyfile=pem, log_config=None, ws="none", lifespan="off", loop="asyncio"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "the API server to listen")
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(_KUBECONFIG.format(port=port, ca=pki.ca, token=TOKEN))

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._socket.close()

    def _kinds(self) -> dict[str, dict[str, str]]:
        """Kinds by API version: the plural's name -> kind."""
        found: dict[str, dict[str, str]] = {"v1": {"namespaces": "Namespace", "nodes": "Node"}}
        for each in self._objects:
            kind = each["kind"]
            plural = kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")
            found.setdefault(each["apiVersion"], {})[plural] = kind
        return found

    async def _answer(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "who are you?")
        self.asked.append(request.url.path)
        parts = request.path_params["path"].strip("/").split("/")
        kinds = self._kinds()
        if parts == ["api"]:
            return JSONResponse({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        if parts == ["apis"]:
            groups = [_group(version) for version in kinds if "/" in version]
            return JSONResponse({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        version = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if version not in kinds:
            return _status(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            return JSONResponse(_resources(version, kinds[version]))
        namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 2 else None
        return self._list(version, kinds[version].get(rest[-1], ""), rest[-1], namespace)

    def _list(self, version: str, kind: str, plural: str, namespace: str | None) -> JSONResponse:
        if plural in self._forbidden:
            return _status(403, "Forbidden", f'{plural} is forbidden: User "u" cannot list resource "{plural}"')
        items = [
            each
            for each in self._objects
            if each["kind"] == kind and namespace in (None, each["metadata"].get("namespace"))
        ]
        return JSONResponse({"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items})


def _group(version: str) -> Data:
    described = {"groupVersion": version, "version": version.partition("/")[2]}
    return {"name": version.partition("/")[0], "versions": [described], "preferredVersion": described}


def _resources(version: str, kinds: dict[str, str]) -> Data:
    cluster_wide = ("Namespace", "Node", "Network", "AdminNetworkPolicy")
    resources = [
        {
            "name": plural,
            "singularName": kind.lower(),
            "namespaced": kind not in cluster_wide,
            "kind": kind,
            "verbs": ["get", "list"],
        }
        for plural, kind in kinds.items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _status(code: int, reason: str, message: str) -> JSONResponse:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return JSONResponse(body, code)


_KUBECONFIG = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:PORT", "certificate-authority": "CA"}}],
        "users": [{"name": "u", "user": {"token": "TOKEN"}}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("here", "there")],
    }
)
_KUBECONFIG = (
    _KUBECONFIG.replace("{", "{{")
    .replace("}", "}}")
    .replace("PORT", "{port}")
    .replace('"CA"', '"{ca}"')
    .replace("TOKEN", "{token}")
)
