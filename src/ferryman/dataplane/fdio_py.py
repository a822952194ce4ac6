"""The Python twin of the C extension: the same primitives, the same answers, a few more system calls.

Imported by fdio.py only, where the extension was not built or FERRYMAN_FDIO=python asks for this one. Like the
extension it keeps no state about connections, waits for nothing, logs nothing and decides nothing. Descriptors that are
passed in must be non-blocking. EINTR is retried (PEP 475). Whatever is not named as a result is an OSError with the
kernel's errno.

One buffer serves all calls: the process has one thread and no call lives on while another runs. SIGPIPE must be ignored
in the process, as Python does by itself.
"""

import _socket
import errno
import fcntl
import os
import struct
import sys
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    MSG_MORE,
    MSG_PEEK,
    MSG_TRUNC,
    SO_LINGER,
    SO_SNDBUF,
    SOCK_STREAM,
    SOL_SOCKET,
)
from collections.abc import Callable
from typing import Any, NoReturn

BUFFER = 64 * 1024
"""The most bytes that one read takes, hence the most that pump can leave over and peek can show."""

DRAINED, MORE, EOF, BLOCKED, READ_ERROR, WRITE_ERROR = range(6)

_IP_TRANSPARENT = 19  # linux/in.h, in6.h; the socket module has no names for these
_IP_BIND_ADDRESS_NO_PORT = 24
_IPV6_TRANSPARENT = 75
_ORIGINAL_DST = 80  # SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST

_UNIX_ROOM = 512 * 1024  # reason in _fdio.c
_SPLICE_CHUNK = 1024 * 1024
_ABORT_AT_CLOSE = struct.pack("ii", 1, 0)
_view = memoryview(bytearray(BUFFER))
_whole = [_view]


class _Borrowed(_socket.socket):
    """Socket calls on a descriptor that belongs to somebody else, and so stays open when this object goes.

    The family only says how large an address may get, and AF_UNIX has the largest; what an address is read as, the
    kernel's answer decides. Making one costs a getsockname(2), which is how EBADF shows.
    """

    __slots__ = ()

    def __init__(self, fd: int) -> None:
        super().__init__(AF_UNIX, SOCK_STREAM, 0, fd if fd >= 0 else _refuse(errno.EBADF))

    def __del__(self) -> None:
        self.detach()


# Keyed by number, and an object holds the number only: right also after the number has come to mean another listener.
_listeners: dict[int, _Borrowed] = {}


def _refuse(code: int) -> NoReturn:
    raise OSError(code, os.strerror(code))


# ---- making and ending connections ----


def accept(listener: int, /) -> tuple[int, str, int] | None:
    """Take one connection: (descriptor, peer's address as text, port), or None if nobody waits.

    The descriptor is non-blocking and close-on-exec. An IPv4-mapped address reads as plain IPv4, a link-local one keeps
    its scope as "%number", a peer on a Unix socket is ("unix", 0), and what is under way to it has room (SO_SNDBUF,
    socket(7)) that does not grow by itself as TCP's does. Raises OSError for all else, ECONNABORTED and EMFILE
    included (accept(2), "Error handling"): which of them one survives is the caller's decision.
    """
    borrowed = _listeners.get(listener)
    if borrowed is None:
        borrowed = _listeners[listener] = _Borrowed(listener)
    try:
        fd, address = borrowed._accept()  # type: ignore[attr-defined]  # accept() as socket.py has it: no object made
    except BlockingIOError:
        return None
    try:
        os.set_blocking(fd, False)
        # A client of a Unix listener has no name worth telling, whatever it bound itself to.
        if isinstance(address, str | bytes):
            host, port = "unix", 0
            _Borrowed(fd).setsockopt(SOL_SOCKET, SO_SNDBUF, _UNIX_ROOM)
        else:
            host, port = _inet_text(address)
    except BaseException:
        os.close(fd)
        raise
    return fd, host, port


def connect(family: int, host: str, port: int, /) -> tuple[int, bool]:
    """Start a stream connection: (descriptor, True if it stands already, False if it is in progress).

    host is a numeric address, for IPv6 with "%number" or "%interface" behind it if need be; for AF_UNIX it is a path,
    or a zero character and an abstract name, and port means nothing. Inet sockets get TCP_NODELAY, Unix sockets a
    buffer as accept gives them. Raises OSError with the reason, having closed the descriptor: EINVAL for what is no
    address of this family, ENODEV for an unknown scope, ENAMETOOLONG for a path, EAFNOSUPPORT for a family;
    OverflowError for a port that is none.
    """
    return _begin(family, _address(family, host, port), None)


def connect_from(
    family: int, host: str, port: int, source: str, source_port: int, foreign: bool, interface: str, /
) -> tuple[int, bool]:
    """As connect, from an address: `source` with `source_port`, or 0 for a port that connecting chooses.

    foreign: an address that this machine does not have (IP_TRANSPARENT, ip(7); EPERM without CAP_NET_RAW and
    CAP_NET_ADMIN). source "": the kernel's choice. interface: the one to leave by, "" for any (SO_BINDTODEVICE,
    socket(7)). Raises also EADDRNOTAVAIL for an address of another machine, and ENODEV for an unknown interface.
    """
    if family not in (AF_INET, AF_INET6):
        _refuse(errno.EAFNOSUPPORT)
    origin = _address(family, source, source_port) if source else None

    def bind(sock: _socket.socket) -> None:
        if interface:
            sock.setsockopt(SOL_SOCKET, _socket.SO_BINDTODEVICE, interface.encode())
        if origin is None:
            return
        if foreign:
            level, option = (IPPROTO_IP, _IP_TRANSPARENT) if family == AF_INET else (IPPROTO_IPV6, _IPV6_TRANSPARENT)
            sock.setsockopt(level, option, 1)
        if source_port:
            sock.setsockopt(SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(origin)

    return _begin(family, _address(family, host, port), bind)


def _begin(
    family: int,
    address: str | tuple[str, int] | tuple[str, int, int, int],
    prepare: Callable[[_socket.socket], None] | None,
) -> tuple[int, bool]:
    sock = _socket.socket(family, SOCK_STREAM | _socket.SOCK_NONBLOCK)
    try:
        if family == AF_UNIX:
            sock.setsockopt(SOL_SOCKET, SO_SNDBUF, _UNIX_ROOM)
        else:
            sock.setsockopt(IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if prepare is not None:
            prepare(sock)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            _refuse(code)
    except BaseException:
        sock.close()
        raise
    return sock.detach(), code == 0


def so_error(fd: int, /) -> int:
    """The pending error of a socket as an errno, 0 if there is none; asking clears it (SO_ERROR, socket(7))."""
    return _Borrowed(fd).getsockopt(SOL_SOCKET, _socket.SO_ERROR)


def shutdown_write(fd: int, /) -> None:
    """Send FIN and keep reading. A socket that is not connected (any more) is left as it is."""
    try:
        _Borrowed(fd).shutdown(_socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise


def linger_reset(fd: int, /) -> None:
    """Let the close to come send RST, not an orderly end (SO_LINGER with 0 seconds, socket(7))."""
    _Borrowed(fd).setsockopt(SOL_SOCKET, SO_LINGER, _ABORT_AT_CLOSE)


def close(fd: int, /) -> None:
    """Close a descriptor."""
    os.close(fd)


def sockname(fd: int, /) -> tuple[str, int]:
    """The socket's own address by the rules of accept; for a Unix socket its path as connect takes it, or "unix"."""
    address = _Borrowed(fd).getsockname()
    if isinstance(address, str | bytes):
        return os.fsdecode(address) or "unix", 0
    return _inet_text(address)


def original(fd: int, /) -> tuple[str, int] | None:
    """Where an accepted connection went before a firewall of this machine sent it here, by the rules of accept.

    What connection tracking knows (SO_ORIGINAL_DST of the kernel's linux/netfilter_ipv4.h, and the same for IPv6); the
    socket's own address if it was not sent elsewhere, None if it is not tracked at all.
    """
    sock = _Borrowed(fd)
    name = sock.getsockname()
    if isinstance(name, str | bytes):
        return None
    four = len(name) == 2 or (name[0].startswith("::ffff:") and "." in name[0])
    try:
        raw = sock.getsockopt(IPPROTO_IP if four else IPPROTO_IPV6, _ORIGINAL_DST, 16 if four else 28)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            return None
        raise
    port = int.from_bytes(raw[2:4], "big")
    if four:
        return _socket.inet_ntop(AF_INET, raw[4:8]), port
    return _inet_text((_socket.inet_ntop(AF_INET6, raw[8:24]), port, 0, int.from_bytes(raw[24:28], sys.byteorder)))


# ---- addresses ----


def _inet_text(address: object) -> tuple[str, int]:
    match address:
        case (str(host), int(port)):
            return host, port
        case (str(host), int(port), _, scope):
            if host.startswith("::ffff:") and "." in host:
                return host[7:], port
            return f"{host}%{scope}" if scope else host, port
    _refuse(errno.EAFNOSUPPORT)


def _address(family: int, host: str, port: int) -> str | tuple[str, int] | tuple[str, int, int, int]:
    if family == AF_UNIX:
        # sockaddr_un.sun_path has 108 bytes, the final zero included (unix(7))
        return host if len(os.fsencode(host)) < 108 else _refuse(errno.ENAMETOOLONG)
    if family not in (AF_INET, AF_INET6):
        _refuse(errno.EAFNOSUPPORT)
    if not 0 <= port <= 65535:
        raise OverflowError("port must be 0-65535")
    bare, percent, scope = host.partition("%") if family == AF_INET6 else (host, "", "")
    # Checked here because _socket would take another text for a name and ask the resolver, which blocks.
    try:
        _socket.inet_pton(family, bare)
    except (OSError, ValueError):
        _refuse(errno.EINVAL)
    return (bare, port, 0, _scope_id(scope) if percent else 0) if family == AF_INET6 else (bare, port)


def _scope_id(scope: str) -> int:
    if scope.isascii() and (scope.isdigit() or not scope):
        number = int(scope or 0)
        return number if 0 < number < 1 << 32 else _refuse(errno.ENODEV)
    try:
        return _socket.if_nametoindex(scope)
    except (OSError, ValueError):
        return _refuse(errno.ENODEV)


# ---- socket options ----


def set_nodelay(fd: int, /) -> None:
    """Send small segments at once (TCP_NODELAY, tcp(7))."""
    _Borrowed(fd).setsockopt(IPPROTO_TCP, _socket.TCP_NODELAY, 1)


def keepalive(fd: int, idle: int, interval: int, count: int, /) -> None:
    """Turn keep-alive on: probe after idle seconds, every interval seconds, give up after count; 0: the kernel's."""
    sock = _Borrowed(fd)
    sock.setsockopt(SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    options = ((_socket.TCP_KEEPIDLE, idle), (_socket.TCP_KEEPINTVL, interval), (_socket.TCP_KEEPCNT, count))
    for option, value in options:
        if value:
            sock.setsockopt(IPPROTO_TCP, option, value)


def rcvlowat(fd: int, size: int, /) -> None:
    """Report readable only once size bytes wait, or the end does (SO_RCVLOWAT, socket(7)); 1 is the normal state."""
    _Borrowed(fd).setsockopt(SOL_SOCKET, _socket.SO_RCVLOWAT, size)


# ---- looking, dropping, sending ----


def peek(fd: int, size: int, /) -> bytes | None:
    """What waits in a socket, at most size bytes (1..BUFFER), left there; None if nothing does, b"" at the end."""
    if not 1 <= size <= BUFFER:
        raise ValueError("size must be 1..BUFFER")
    try:
        count = _Borrowed(fd).recv_into(_view, size, MSG_PEEK)
    except BlockingIOError:
        return None
    return bytes(_view[:count])


def discard(fd: int, count: int, /) -> int:
    """Drop count bytes that were peeked at; returns how many were there to drop."""
    sock = _Borrowed(fd)
    gone = 0
    while gone < count:
        try:
            # MSG_TRUNC saves TCP the copy; a Unix socket ignores it and copies, hence the real buffer.
            dropped = sock.recv_into(_view, min(count - gone, BUFFER), MSG_TRUNC)
        except BlockingIOError:
            break
        if dropped == 0:
            break
        gone += dropped
    return gone


def send(fd: int, data: bytes | bytearray | memoryview, /) -> int:
    """Send what a socket takes now: 0..len(data) bytes, 0 if it is full."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


def send_more(fd: int, data: bytes | bytearray | memoryview, /) -> int:
    """The same, and more follows at once: it may wait for that, so as to go in one segment (MSG_MORE, send(2))."""
    try:
        return _Borrowed(fd).send(data, MSG_MORE)
    except BlockingIOError:
        return 0


# ---- carrying ----


def pump(src: int, dst: int, limit: int, hup: bool, /) -> tuple[int, int, Any]:
    """Copy from one socket to another: (state, bytes that dst took, extra), where the state says what extra is.

    DRAINED      nothing left to read right now; extra is None here and in the next two
    MORE         limit bytes were moved, more may wait
    EOF          the source has ended and all before its end is delivered; the C extension holds the last bytes back
                 until the caller passes the end on (shutdown or close, at once), so that FIN and data share a segment
    BLOCKED      dst is full; extra is what it did not take, bytes that are gone from src and at most BUFFER of them
    READ_ERROR   extra is the errno; all read before is delivered
    WRITE_ERROR  extra is the errno; what it was to take is lost

    A read that is shorter than asked for means DRAINED without another look, unless hup: to be given when the event
    carried RDHUP, HUP or ERR (or PRI, as a read also stops at urgent data), for then no other event will tell of it.
    After MORE and BLOCKED it has to be given again. A limit below 1 moves nothing and answers MORE.
    """
    moved = 0
    while moved < limit:
        wanted = min(limit - moved, BUFFER)
        try:
            got = os.readv(src, _whole if wanted == BUFFER else [_view[:wanted]])
        except BlockingIOError:
            return DRAINED, moved, None
        except OSError as error:
            return READ_ERROR, moved, error.errno
        if got == 0:
            return EOF, moved, None
        try:
            taken = os.write(dst, _view[:got])
        except BlockingIOError:
            taken = 0
        except OSError as error:
            return WRITE_ERROR, moved, error.errno
        moved += taken
        if taken < got:
            return BLOCKED, moved, bytes(_view[taken:got])
        if got < wanted and not hup:
            return DRAINED, moved, None
    return MORE, moved, None


def splice_pump(src: int, pipe_r: int, pipe_w: int, dst: int, in_pipe: int, limit: int, /) -> tuple[int, int, int, int]:
    """Move between two sockets through a pipe, in the kernel: (state, bytes that dst took, bytes in the pipe, errno).

    in_pipe says how many bytes the pipe holds already. The states are pump's, but what dst did not take (BLOCKED,
    WRITE_ERROR) is in the pipe, which is empty in all other states. It reads until there is nothing, so the end of src
    is seen without a hint. src -1 only empties the pipe: DRAINED when that is done. A limit below 1 likewise: MORE.

    Always out until the pipe is empty, then in: EAGAIN on the way in would otherwise mean "no data" or "no free slot".
    A short splice in proves nothing, for slots may have run out before the data did; a short splice out neither, for a
    signal may have cut it. So both go on until EAGAIN. SPLICE_F_MORE is left out: it corks the last segment although
    nothing may follow. SPLICE_F_MOVE has had no effect since Linux 2.6.21 (splice(2)).
    """
    moved = 0
    while True:
        while in_pipe > 0:
            try:
                count = os.splice(pipe_r, dst, in_pipe, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                return BLOCKED, moved, in_pipe, 0
            except OSError as error:
                return WRITE_ERROR, moved, in_pipe, error.errno or errno.EIO
            if count == 0:  # cannot be, unless the caller counted wrong: say so instead of spinning
                return WRITE_ERROR, moved, in_pipe, errno.EIO
            in_pipe -= count
            moved += count
        if src < 0:
            return DRAINED, moved, 0, 0
        if moved >= limit:
            return MORE, moved, 0, 0
        try:
            in_pipe = os.splice(src, pipe_w, min(limit - moved, _SPLICE_CHUNK), flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return DRAINED, moved, 0, 0
        except OSError as error:
            return READ_ERROR, moved, 0, error.errno or errno.EIO
        if in_pipe == 0:
            return EOF, moved, 0, 0


def pipe(size: int, /) -> tuple[int, int]:
    """A non-blocking, close-on-exec pipe: (reading end, writing end), of size bytes if that is above 0 and allowed.

    The kernel refuses to enlarge a pipe past /proc/sys/fs/pipe-max-size or the user's quota, and past the soft quota it
    makes it two pages small from the start (pipe(7)). A smaller pipe carries the same bytes, so this is no error.
    """
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    if size > 0:
        try:
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, size)
        except OSError:
            return ends
    return ends


def pipe_put(pipe_w: int, data: bytes | bytearray | memoryview, /) -> int:
    """Write what a pipe takes now: 0..len(data) bytes, 0 if it is full. A small pipe may take a part of a leftover."""
    try:
        return os.write(pipe_w, data)
    except BlockingIOError:
        return 0
