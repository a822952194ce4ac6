"""The mtc dialect: a MigrationController resource (Migration Toolkit for Containers), as far as volumes are carried.

Called by config.load. `stunnel_tcp_proxy` is taken as the controller takes it (config/gourl.py), and each way in which
that goes wrong is named with what to write instead; no message shows a password. What follows from the resource is the
client end of Direct Volume Migration: from 127.0.0.1:6443 through TLS, and through the proxy, to the route on port 443.
The resource does not say which route: ROUTE does, a variable of the environment. Reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ferryman.config import gourl, yamltree
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word, split
from ferryman.config.proxy_url import check_credential
from ferryman.config.source import Diagnostics, Document, Mark, Path, Source
from ferryman.config.values import parse_connect_address

NAME: Final = "mtc"
ROUTE: Final = "FERRYMAN_ROUTE_HOST"
PASSWORD: Final = "STUNNEL_TCP_PROXY_PASSWORD"
"""Variable that stands for the proxy's password where the configuration is written down."""

_NO_ROUTE: Final = "dvm-namespace.apps.target.invalid"
_KIND: Final = re.compile(r"""(?:^|[{,])[ \t-]*["']?kind["']?[ \t]*:[ \t]*["']?MigrationController\b""", re.MULTILINE)
_OBJECT: Final = re.compile(r"""(?:^|[{,])[ \t]*["']?apiVersion["']?[ \t]*:""", re.MULTILINE)
_OMITTED: Final = re.compile(r"^[ \t]*\[?\.\.\.\]?[ \t]*$")
_FENCE: Final = re.compile(r"^```")
_EXAMPLE: Final = "http://username:password@10.0.0.1:3128"
_ENDPOINTS: Final = ("Route", "ClusterIP", "NodePort")
_EXTRA: Final = re.compile(r"--?([a-z0-9]+-)*[a-z0-9]+")
_LONG: Final = {"-X": "--xattrs", "-A": "--acls", "-S": "--sparse", "-H": "--hard-links", "-W": "--whole-file",
                "-R": "--relative", "-I": "--ignore-times", "-O": "--omit-dir-times"}  # fmt: skip
_TRUTHS: Final = ("rsync_opt_partial", "rsync_opt_archive", "rsync_opt_delete", "rsync_opt_hardlinks")
_NUMBERS: Final = ("rsync_opt_bwlimit", "rsync_backoff_limit")
_KNOWN: Final = (
    *("stunnel_tcp_proxy", "stunnel_verify_ca", "stunnel_verify_ca_level", "rsync_endpoint_type", "rsync_opt_extras"),
    *("rsync_opt_info", "rsync_transfer_image_fqin", *_TRUTHS, *_NUMBERS),
)


def recognise(source: Source) -> int:
    """How sure it is that this text is a MigrationController: 0 to 100. Other objects of a cluster are told so here."""
    if _KIND.search(source.text):
        return 96
    return 40 if _OBJECT.search(source.text) else 0


def parse(sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]) -> Document:
    """Read the first MigrationController. Every mistake goes to `diagnostics`."""
    place = Mark(sources[0].name, 1, 1) if sources else Mark("", 1, 1)
    found = [each for source in sources for each in _resources(source, diagnostics)]
    if not found:
        if not diagnostics.errors:
            hint = "of Kubernetes' objects it is the only one with a way for bytes: name the file that has it"
            diagnostics.error(place, "there is no MigrationController", hint)
        return Document(NAME, {})
    for other in found[1:]:
        diagnostics.error(other.mark, "this is another MigrationController", "a cluster has one: name one")
    spec = found[0].values.get("spec")
    if "stunnel_tcp_proxy" in found[0].values:
        word = found[0].keys["stunnel_tcp_proxy"]
        diagnostics.error(
            word.mark, "the controller looks for stunnel_tcp_proxy within `spec`", "indent it below `spec:`"
        )
    if not isinstance(spec, yamltree.Mapping):
        diagnostics.error(found[0].mark, "there is no `spec`, where all settings stand", "add `spec:`")
        return Document(NAME, {})
    tree = _read(spec, diagnostics, environment.get(ROUTE, ""))
    marks: dict[Path, Mark] = {}
    data = split(tree, marks) if tree is not None else {}
    assert isinstance(data, dict)
    marks.setdefault((), place)
    return Document(NAME, data, marks)


def _resources(source: Source, diagnostics: Diagnostics) -> list[yamltree.Mapping]:
    """The MigrationControllers in a text. Documents of other kinds are named and left alone."""
    text = _plain(source, diagnostics)
    found = []
    todo = yamltree.documents(Source(source.name, text), diagnostics)[::-1]
    while todo:
        value = todo.pop()
        if not isinstance(value, yamltree.Mapping):
            continue
        items = value.values.get("items")
        if isinstance(items, yamltree.Sequence):  # `oc get` without a name answers with a list
            todo += items.items[::-1]
            continue
        kind = value.values.get("kind")
        name = kind.text if isinstance(kind, Word) else ""
        if name == "MigrationController":
            found.append(value)
        elif name:
            hint = "`ferryman policy check` is about policies" if "Policy" in name or "Firewall" in name else ""
            diagnostics.warning(value.mark, f"this {name} is not read: it says nothing of the way of volumes", hint)
    return found


def _plain(source: Source, diagnostics: Diagnostics) -> str:
    """The text without what is no YAML, every line where it was: `[...]` for what is left out, prose around code."""
    lines = source.text.split("\n")
    fenced = any(_FENCE.match(line) for line in lines)
    kept, inside, wanted = [], False, not fenced
    for number, line in enumerate(lines):
        if fenced and _FENCE.match(line):
            inside = not inside
            if inside:
                end = next((at for at in range(number + 1, len(lines)) if _FENCE.match(lines[at])), len(lines))
            wanted = inside and _KIND.search("\n".join(lines[number:end])) is not None
            kept.append("")
            continue
        if not wanted:
            kept.append("")
        elif _OMITTED.fullmatch(line.rstrip("\r")) and line.strip() != "...":
            mark = Mark(source.name, number + 1, len(line) - len(line.lstrip()) + 1, len(line.strip()))
            message = "[...] is no YAML: it stands for the settings of your own resource"
            hint = "`oc get migrationcontroller -n openshift-migration -o yaml` shows them"
            diagnostics.warning(mark, message, hint)
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def _read(spec: yamltree.Mapping, diagnostics: Diagnostics, route: str) -> dict[str, object] | None:
    hop: dict[str, object] | None = None
    faulty = False
    given = spec.values.get("stunnel_tcp_proxy")
    if given is not None and not (isinstance(given, Word) and not given.text):
        try:
            hop = _proxy(yamltree.one(given, "stunnel_tcp_proxy"), diagnostics)
        except Mistake as mistake:
            faulty = True
            diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    _check_others(spec, hop is not None, diagnostics)
    if faulty:
        return None
    if not route:
        message = f"which route volumes go to is not in the resource: {_NO_ROUTE} stands for its host"
        diagnostics.warning(spec.mark, message, f"{ROUTE}=$(oc get route dvm -n NAMESPACE -o jsonpath={{.spec.host}})")
    return _native(spec.mark, hop, given.mark if given is not None else spec.mark, route or _NO_ROUTE)


def _native(place: Mark, hop: dict[str, object] | None, at: Mark, route: str) -> dict[str, object]:
    """The client end as Direct Volume Migration has it, but that only this machine may enter the tunnel."""
    backend: dict[str, object] = {
        "servers": [f"{route}:443"],
        "retries": 0,
        "connect_timeout": 10,
        "negotiation_timeout": 300,
        "tunnel_timeout": 43200,
        "server_fin_timeout": 60,
        "tls": At({"verify": False, "server_name": route, "min_version": "1.2", "alpn": "none"}, place),
    }
    if hop is not None:
        backend["via"] = [At(hop, at)]
    listener = {"bind": "127.0.0.1:6443", "mode": "tcp", "to": "route", "client_fin_timeout": 60}
    return {"listeners": {"rsync": listener}, "backends": {"route": backend}}


# the proxy


def _proxy(word: Word, diagnostics: Diagnostics) -> dict[str, object] | None:
    """The native hop, None when the controller would use no proxy. Raises Mistake."""
    text = word.text
    _refuse_placeholders(word)
    for raw, escaped in (('"', "%22"), ("\\", "%5C")):
        if raw in text:
            message = f"a raw {raw} ends the text that the operator writes this into, and its template breaks"
            raise Mistake(word, message, f"write {escaped} instead, as in {corrected(text)}")
    try:
        url = gourl.parse(text)
    except gourl.GoUrlError as error:
        raise _unparsed(word, str(error)) from None
    if not url.host:
        message = "the controller finds no host in this, and uses NO proxy, without a word"
        raise Mistake(word, message, f"write {corrected(text)}")
    if "@" in f"{url.path}?{url.query}#{url.fragment}":
        message = "a raw /, ? or # in the password ends the address early: the controller would go to another host"
        raise Mistake(word, message, f"percent-encode it (%2F, %3F, %23), as in {corrected(text)}")
    address = _address(word, url)
    user, password = url.user or "", url.password or ""
    _check_credentials(word, url)
    if url.scheme != "http":
        said = f"the scheme {url.scheme} is ignored" if url.scheme else "the scheme is missing, which goes well"
        message = f"{said}: stunnel speaks plainly with the proxy, never TLS"
        diagnostics.warning(word.mark, message, f"write {corrected(text)}")
    if url.path not in ("", "/") or url.query or url.fragment:
        diagnostics.warning(word.mark, "what follows the port is ignored", f"write {corrected(text)}")
    hop: dict[str, object] = {"url": f"http://{address}"}
    if user and password:
        hop |= {"user": user, "password": password}
        if "@" in text.partition("//")[2].rpartition("@")[0] or ":" in _secret(text):
            message = "a raw @ or : in the credentials goes well with Go only"
            diagnostics.warning(word.mark, message, f"write %40 and %3A, as in {corrected(text)}")
    elif url.user is not None:
        missing = "password" if user else "user"
        message = f"without a {missing} stunnel sends no credentials at all, and the proxy may answer 407"
        diagnostics.warning(word.mark, message, f"write http://USER:PASSWORD@{address}, or nothing before the @")
    return hop


def _refuse_placeholders(word: Word) -> None:
    host = word.text.rpartition("@")[2].rpartition("//")[2]
    if re.fullmatch(r"<?(ip|host|hostname|address|proxy)>?:<?port>?/?", host, re.IGNORECASE) or "<" in word.text:
        message = f"{host} is a placeholder: the port has to be a number, and the controller cannot parse this"
        raise Mistake(word, message, f"write the address and the port of your proxy, as in {_EXAMPLE}")


def _unparsed(word: Word, reason: str) -> Mistake:
    text = word.text
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        reason, hint = "a raw % begins no escape", "write %25 for it"
    elif re.search(r"\s", text):
        reason, hint = "there is a blank in it", "write %20 for it"
    elif "first path segment" in reason:
        reason, hint = "there is no scheme", "write http:// before it"
    elif any(c in text.rpartition("@")[0].rpartition("://")[2] for c in "/?#"):
        reason, hint = "a raw /, ? or # in the password ends the address early", "write %2F, %3F, %23"
    else:
        hint = "percent-encode what is special in user and password"
    message = f"the controller cannot parse this ({reason}), and the migration fails before it begins"
    return Mistake(word, message, f"{hint}, as in {corrected(text)}")


def _address(word: Word, url: gourl.GoUrl) -> str:
    """HOST:PORT as stunnel can use it. Raises Mistake."""
    host = url.host
    if host.startswith("["):
        message = "stunnel keeps the brackets of an IPv6 address in the name, and finds no such host"
        credentials = "USER:PASSWORD@" if url.user is not None else ""
        raise Mistake(word, message, f"write a name for it, as in http://{credentials}proxy.example:{url.port or 3128}")
    if not url.port:
        bare = host.rstrip(":")
        message = f"without a port stunnel takes {bare!r} for a port or service of localhost, and reaches nobody"
        raise Mistake(word, message, f"write {corrected(word.text)}")
    if not 1 <= int(url.port[:6]) <= 65535:
        raise Mistake(word, f"port {url.port} does not exist", "ports are 1 to 65535")
    try:
        parse_connect_address(host)
    except ValueError:
        raise Mistake(word, f"{host!r} is no host and port", f"write {_EXAMPLE}") from None
    return host


def _check_credentials(word: Word, url: gourl.GoUrl) -> None:
    for what, text in (("user", url.user or ""), ("password", url.password or "")):
        if re.search(r"[\x00-\x1f\x7f]", text):
            message = f"the {what} has a line break or the like in it, which would put lines into stunnel.conf"
            raise Mistake(word, message, "remove %0A, %0D and other control characters")
        try:
            check_credential(text.encode("utf-8", "surrogateescape").decode(), what)
        except UnicodeDecodeError:
            raise Mistake(word, f"the {what} is not UTF-8 once its % escapes are decoded", "") from None
        except ValueError as error:
            raise Mistake(word, str(error), "") from None


def corrected(text: str) -> str:
    """What was probably meant, right, and with stars for the password."""
    rest = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//", "", text)
    info, at, place = rest.rpartition("@")
    host = re.split(r"[/?#]", place)[0]
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        host = f"{(name or host) if colon else host}:3128"
    if not re.fullmatch(r"[A-Za-z0-9.:_\[\]-]+", host) or host.startswith(":"):
        host = "10.0.0.1:3128"
    user = re.sub(r"[^A-Za-z0-9._~-]", "", info.partition(":")[0])
    credentials = f"{user or 'USER'}:{'***' if ':' in info else 'PASSWORD'}@" if at else ""
    return f"http://{credentials}{host}"


def _secret(text: str) -> str:
    return text.partition("//")[2].rpartition("@")[0].partition(":")[2]


# what else is said of the way of volumes


def _check_others(spec: yamltree.Mapping, proxied: bool, diagnostics: Diagnostics) -> None:
    for name, value in spec.values.items():
        try:
            key = spec.keys[name]
            if name in _KNOWN:
                _check_one(name, key, value, proxied, diagnostics)
            elif name.startswith(("stunnel_", "rsync_")) and (hint := nearest(name, _KNOWN)):
                diagnostics.warning(key.mark, f"{name} is no setting that is known here", hint)
        except Mistake as mistake:
            diagnostics.warning(mistake.mark, mistake.message, mistake.hint)


def _check_one(name: str, key: Word, value: yamltree.Value, proxied: bool, diagnostics: Diagnostics) -> None:
    """Raises Mistake, which is a warning: the controller goes on without what it does not understand."""
    if name in ("stunnel_verify_ca", "stunnel_verify_ca_level"):
        message = f"{name} has no effect any more: certificates are not verified, whatever it says"
        diagnostics.warning(key.mark, message, "`ferryman doctor --expect-cert` finds out who sits in between")
    elif name == "rsync_opt_info":
        diagnostics.warning(key.mark, "rsync_opt_info is handed on to rsync by old versions only", "remove it")
    elif name == "rsync_endpoint_type":
        _check_endpoint(yamltree.one(value, name), proxied, diagnostics)
    elif name == "rsync_opt_extras":
        words = [part for word in yamltree.several(value, name) for part in re.split(r"[\s,]+", word.text) if part]
        place = value.mark
        for option in words:
            if not _EXTRA.fullmatch(option):
                hint = f"write {_LONG[option]}" if option in _LONG else "only --lower-case options without a value pass"
                diagnostics.warning(
                    place, f"the option {option} never reaches rsync: it is dropped without a word", hint
                )
    elif name in _TRUTHS:
        word = yamltree.one(value, name)
        if word.text.lower() not in ("true", "false"):
            raise Mistake(word, f"{name} is true or false, not {word.text!r}", "write true")
        if name == "rsync_opt_partial" and word.text.lower() == "false":
            message = "a retry begins each file anew: what an attempt has carried of a large one is lost"
            raise Mistake(word, message, "leave rsync_opt_partial out")
    elif name in _NUMBERS:
        _check_number(name, yamltree.one(value, name))


def _check_endpoint(word: Word, proxied: bool, diagnostics: Diagnostics) -> None:
    if word.text not in _ENDPOINTS:
        hint = nearest(word.text, _ENDPOINTS) or f"there are {', '.join(_ENDPOINTS)}"
        raise Mistake(word, f"there is no endpoint {word.text!r}: the controller takes Route", hint)
    if word.text != "Route":
        port = "a port from 30000 to 32767" if word.text == "NodePort" else "port 6443 of an address within the cluster"
        message = f"volumes go to {port}, if this is the destination's resource"
        proxy = ", also through the proxy, which has to allow it (Squid: SSL_ports)" if proxied else ""
        diagnostics.warning(word.mark, f"{message}{proxy}", "convert is about a Route")


def _check_number(name: str, word: Word) -> None:
    if not re.fullmatch(r"-?[0-9]{1,9}", word.text):
        raise Mistake(word, f"{name} is a whole number, not {word.text!r}", "")
    number = int(word.text)
    if name == "rsync_opt_bwlimit" and number <= 0 and number != -1:
        raise Mistake(word, "a limit of no bandwidth is no limit", "write KiB per second, or leave it out")
    if name == "rsync_backoff_limit" and number < 1:
        raise Mistake(word, f"{number} attempts at a volume: the first failure is the last", "the default is 20")
    if name == "rsync_backoff_limit" and number > 20:
        message = f"up to {number} attempts follow each other at once, without a pause, whatever the reason is"
        raise Mistake(word, message, "find the reason first, with `ferryman doctor`; the default is 20")
