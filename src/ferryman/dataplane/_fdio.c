/* Stateless primitives on bare, non-blocking file descriptors: the hot path of the relay.
 *
 * Imported by fdio.py only; the contract is in _fdio.pyi, the twin that must behave the same in fdio_py.py. Nothing here
 * keeps state between two calls, waits, logs or decides: it makes system calls and says what they answered.
 *
 * The interpreter lock is held throughout. Every call is non-blocking and a worker has one thread, so nobody could use
 * the lock meanwhile, and giving it away and taking it back costs more than the bookkeeping around a small recv.
 * For the same reason one static buffer serves all calls: none of them lives on while another runs.
 *
 * SIGPIPE must be ignored in the process (Python does so): splice(2) has no MSG_NOSIGNAL. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef BUFFER_SIZE
#define BUFFER_SIZE (64 * 1024)
#endif
#define SPLICE_CHUNK (1024 * 1024)

enum state { DRAINED, MORE, AT_EOF, BLOCKED, READ_ERROR, WRITE_ERROR };

static char buffer[BUFFER_SIZE];

#define RETRY_EINTR(result, call) \
    do { \
        (result) = (call); \
    } while ((result) < 0 && errno == EINTR)

/* ---- arguments and results ---- */

static int arity(Py_ssize_t given, Py_ssize_t wanted) {
    if (given == wanted) return 0;
    PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", wanted, given);
    return -1;
}

static int as_ints(PyObject *const *args, int *out, int count) {
    for (int i = 0; i < count; i++) {
        long value = PyLong_AsLong(args[i]);
        if (value == -1 && PyErr_Occurred()) return -1;
        if (value < INT_MIN || value > INT_MAX) {
            PyErr_SetString(PyExc_OverflowError, "signed integer is out of range");
            return -1;
        }
        out[i] = (int)value;
    }
    return 0;
}

static int only_ints(PyObject *const *args, Py_ssize_t given, int *out, int count) {
    return arity(given, count) < 0 ? -1 : as_ints(args, out, count);
}

static PyObject *os_error(void) { return PyErr_SetFromErrno(PyExc_OSError); }

static PyObject *os_error_of(int code) {
    errno = code;
    return os_error();
}

static PyObject *none_or_error(int result) {
    if (result < 0) return os_error();
    Py_RETURN_NONE;
}

/* Steals the references; any of them may be NULL after a failed allocation. */
static PyObject *tuple_of(int count, PyObject *a, PyObject *b, PyObject *c, PyObject *d) {
    PyObject *items[4] = {a, b, c, d};
    PyObject *tuple = PyTuple_New(count);
    int failed = tuple == NULL;
    for (int i = 0; i < count; i++) failed |= items[i] == NULL;
    for (int i = 0; i < count; i++) {
        if (failed) Py_XDECREF(items[i]);
        else PyTuple_SET_ITEM(tuple, i, items[i]);
    }
    if (failed) Py_CLEAR(tuple);
    return tuple;
}

/* ---- addresses ---- */

static PyObject *unix_text(const struct sockaddr_un *address, socklen_t length) {
    size_t size = length > offsetof(struct sockaddr_un, sun_path) ? length - offsetof(struct sockaddr_un, sun_path) : 0;
    if (size == 0) return PyUnicode_FromString("unix");
    if (address->sun_path[0]) size = strnlen(address->sun_path, size);
    return PyUnicode_DecodeFSDefaultAndSize(address->sun_path, (Py_ssize_t)size);
}

static PyObject *inet6_text(const struct sockaddr_in6 *address) {
    char text[INET6_ADDRSTRLEN + 12];
    if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
        inet_ntop(AF_INET, &address->sin6_addr.s6_addr[12], text, INET6_ADDRSTRLEN);
        return PyUnicode_FromString(text);
    }
    inet_ntop(AF_INET6, &address->sin6_addr, text, INET6_ADDRSTRLEN);
    if (address->sin6_scope_id) sprintf(text + strlen(text), "%%%u", address->sin6_scope_id);
    return PyUnicode_FromString(text);
}

static PyObject *inet_text(const struct sockaddr_in *address) {
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
    return PyUnicode_FromString(text);
}

static PyObject *address_text(const struct sockaddr_storage *address, socklen_t length, int *port) {
    *port = 0;
    switch (address->ss_family) {
    case AF_INET:
        *port = ntohs(((const struct sockaddr_in *)address)->sin_port);
        return inet_text((const struct sockaddr_in *)address);
    case AF_INET6:
        *port = ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
        return inet6_text((const struct sockaddr_in6 *)address);
    case AF_UNIX:
        return unix_text((const struct sockaddr_un *)address, length);
    default:
        return os_error_of(EAFNOSUPPORT);
    }
}

/* The parsers return the address' length, or 0 with errno set. */

static socklen_t parse_inet(const char *host, int port, struct sockaddr_in *out) {
    out->sin_family = AF_INET;
    out->sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &out->sin_addr) == 1) return sizeof *out;
    errno = EINVAL;
    return 0;
}

static unsigned int scope_id(const char *scope) {
    unsigned long number = 0;
    for (const char *at = scope; *at; at++) {
        if (*at < '0' || *at > '9') return if_nametoindex(scope);
        number = number * 10 + (unsigned long)(*at - '0');
        if (number > UINT_MAX) return 0;
    }
    return (unsigned int)number;
}

static socklen_t parse_inet6(const char *host, int port, struct sockaddr_in6 *out) {
    char bare[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    out->sin6_family = AF_INET6;
    out->sin6_port = htons((uint16_t)port);
    errno = EINVAL;
    if (length >= sizeof bare) return 0;
    memcpy(bare, host, length);
    bare[length] = 0;
    if (inet_pton(AF_INET6, bare, &out->sin6_addr) != 1) return 0;
    if (host[length] && !(out->sin6_scope_id = scope_id(host + length + 1))) {
        errno = ENODEV;
        return 0;
    }
    return sizeof *out;
}

static socklen_t parse_unix(const char *path, Py_ssize_t length, struct sockaddr_un *out) {
    out->sun_family = AF_UNIX;
    errno = ENAMETOOLONG;
    if ((size_t)length >= sizeof out->sun_path) return 0;
    memcpy(out->sun_path, path, (size_t)length);
    /* A name in the file system is sent with its final zero, an abstract one is exactly as long as it is. */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length + (length > 0 && path[0] != 0));
}

/* Returns the length; 0 with a Python exception set. */
static socklen_t parse_address(int family, PyObject *host, int port, struct sockaddr_storage *out) {
    socklen_t length = 0;
    memset(out, 0, sizeof *out);
    if (family == AF_UNIX) {
        PyObject *path = PyUnicode_EncodeFSDefault(host);
        if (!path) return 0;
        length = parse_unix(PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path), (struct sockaddr_un *)out);
        Py_DECREF(path);
    } else {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(host, &size);
        if (!text) return 0;
        if (port < 0 || port > 65535) {
            PyErr_SetString(PyExc_OverflowError, "port must be 0-65535");
            return 0;
        }
        errno = EINVAL;
        if (strlen(text) != (size_t)size) length = 0;
        else if (family == AF_INET) length = parse_inet(text, port, (struct sockaddr_in *)out);
        else if (family == AF_INET6) length = parse_inet6(text, port, (struct sockaddr_in6 *)out);
        else errno = EAFNOSUPPORT;
    }
    if (!length) os_error();
    return length;
}

/* ---- making and ending connections ---- */

static int set_int(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* TCP's buffers grow with what is under way, those of Unix sockets do not: net.core.wmem_default holds a dozen pieces of
 * 16 KiB, and both processes wake up for as few. A migration of large files took three quarters of the time with this. */
#define UNIX_ROOM (512 * 1024) /* socket(7): the kernel doubles it; at most net.core.wmem_max */

static PyObject *fdio_accept(PyObject *Py_UNUSED(module), PyObject *argument) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int listener, port, fd;
    PyObject *host;
    if (as_ints(&argument, &listener, 1) < 0) return NULL;
    RETRY_EINTR(fd, accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd < 0) {
        if (errno == EAGAIN) Py_RETURN_NONE;
        return os_error();
    }
    /* A client of a Unix listener has no name worth telling, whatever it bound itself to. */
    if (address.ss_family == AF_UNIX) {
        length = 0;
        set_int(fd, SOL_SOCKET, SO_SNDBUF, UNIX_ROOM);
    }
    host = address_text(&address, length, &port);
    PyObject *result = host ? tuple_of(3, PyLong_FromLong(fd), host, PyLong_FromLong(port), NULL) : NULL;
    if (!result) close(fd);
    return result;
}

/* Where a connection comes from: an address to bind to (length 0: the kernel's choice), whether it may be one that this
 * machine does not have, and the interface that it must leave by ("": any). */
struct origin {
    struct sockaddr_storage address;
    socklen_t length;
    int port, foreign;
    const char *interface;
};

/* The macros of these are in linux/in.h and linux/in6.h, which do not go together with netinet/in.h everywhere. */
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#define ORIGINAL_DST 80 /* SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h) */

static int bind_to(int fd, int family, const struct origin *from) {
    if (from->interface[0] &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, from->interface, (socklen_t)strlen(from->interface)) < 0)
        return -1;
    if (!from->length) return 0;
    if (from->foreign && (family == AF_INET ? set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1)
                                            : set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)) < 0)
        return -1;
    /* Without a port of its own: chosen by connect(2), where one number serves several destinations (ip(7)). */
    if ((from->port ? set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) : set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) < 0)
        return -1;
    return bind(fd, (const struct sockaddr *)&from->address, from->length);
}

/* `from` may be NULL. */
static PyObject *begin(int family, PyObject *host, int port, const struct origin *from) {
    struct sockaddr_storage address;
    if (!PyUnicode_Check(host)) {
        PyErr_SetString(PyExc_TypeError, "host must be str");
        return NULL;
    }
    socklen_t length = parse_address(family, host, port, &address);
    if (!length) return NULL;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return os_error();
    if ((family == AF_UNIX ? set_int(fd, SOL_SOCKET, SO_SNDBUF, UNIX_ROOM) : set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1)) < 0)
        goto failed;
    if (from && bind_to(fd, family, from) < 0) goto failed;
    int result = connect(fd, (struct sockaddr *)&address, length);
    /* An interrupted connect goes on by itself and must not be called again (connect(2), EINTR). */
    if (result < 0 && errno != EINPROGRESS && errno != EINTR) goto failed;
    PyObject *pair = tuple_of(2, PyLong_FromLong(fd), PyBool_FromLong(result == 0), NULL, NULL);
    if (!pair) close(fd);
    return pair;
failed:;
    int code = errno;
    close(fd);
    return os_error_of(code);
}

static PyObject *fdio_connect(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int family, port;
    if (arity(given, 3) < 0 || as_ints(args, &family, 1) < 0 || as_ints(args + 2, &port, 1) < 0) return NULL;
    return begin(family, args[1], port, NULL);
}

static PyObject *fdio_connect_from(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int family, port;
    struct origin from = {.length = 0};
    if (arity(given, 7) < 0 || as_ints(args, &family, 1) < 0 || as_ints(args + 2, &port, 1) < 0) return NULL;
    if (as_ints(args + 4, &from.port, 1) < 0 || (from.foreign = PyObject_IsTrue(args[5])) < 0) return NULL;
    if (!PyUnicode_Check(args[3]) || !PyUnicode_Check(args[6])) {
        PyErr_SetString(PyExc_TypeError, "source and interface must be str");
        return NULL;
    }
    if (family != AF_INET && family != AF_INET6) return os_error_of(EAFNOSUPPORT);
    if (!(from.interface = PyUnicode_AsUTF8(args[6]))) return NULL;
    if (PyUnicode_GET_LENGTH(args[3]) && !(from.length = parse_address(family, args[3], from.port, &from.address)))
        return NULL;
    return begin(family, args[1], port, &from);
}

static PyObject *fdio_so_error(PyObject *Py_UNUSED(module), PyObject *argument) {
    int fd, code;
    socklen_t length = sizeof code;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) < 0) return os_error();
    return PyLong_FromLong(code);
}

static PyObject *fdio_shutdown_write(PyObject *Py_UNUSED(module), PyObject *argument) {
    int fd;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    int result = shutdown(fd, SHUT_WR);
    return none_or_error(result < 0 && errno == ENOTCONN ? 0 : result);
}

/* Linux gives the number back even when close(2) was interrupted, so it is never called twice. */
static int close_once(int fd) {
    int result = close(fd);
    return result < 0 && errno == EINTR ? 0 : result;
}

static PyObject *fdio_close(PyObject *Py_UNUSED(module), PyObject *argument) {
    int fd;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    return none_or_error(close_once(fd));
}

static PyObject *fdio_linger_reset(PyObject *Py_UNUSED(module), PyObject *argument) {
    struct linger abort_at_close = {1, 0};
    int fd;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    return none_or_error(setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_at_close, sizeof abort_at_close));
}

static PyObject *fdio_sockname(PyObject *Py_UNUSED(module), PyObject *argument) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd, port;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return os_error();
    PyObject *host = address_text(&address, length, &port);
    return host ? tuple_of(2, host, PyLong_FromLong(port), NULL, NULL) : NULL;
}

static PyObject *fdio_original(PyObject *Py_UNUSED(module), PyObject *argument) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd, port;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return os_error();
    int four = address.ss_family == AF_INET ||
               (address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&address)->sin6_addr));
    length = sizeof address;
    if (getsockopt(fd, four ? IPPROTO_IP : IPPROTO_IPV6, ORIGINAL_DST, &address, &length) < 0) {
        if (errno == ENOENT || errno == ENOPROTOOPT || errno == EOPNOTSUPP) Py_RETURN_NONE;
        return os_error();
    }
    PyObject *host = address_text(&address, length, &port);
    return host ? tuple_of(2, host, PyLong_FromLong(port), NULL, NULL) : NULL;
}

/* ---- socket options ---- */

static PyObject *fdio_set_nodelay(PyObject *Py_UNUSED(module), PyObject *argument) {
    int fd;
    if (as_ints(&argument, &fd, 1) < 0) return NULL;
    return none_or_error(set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1));
}

static PyObject *fdio_keepalive(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int a[4];
    if (only_ints(args, given, a, 4) < 0) return NULL;
    int result = set_int(a[0], SOL_SOCKET, SO_KEEPALIVE, 1);
    if (result == 0 && a[1]) result = set_int(a[0], IPPROTO_TCP, TCP_KEEPIDLE, a[1]);
    if (result == 0 && a[2]) result = set_int(a[0], IPPROTO_TCP, TCP_KEEPINTVL, a[2]);
    if (result == 0 && a[3]) result = set_int(a[0], IPPROTO_TCP, TCP_KEEPCNT, a[3]);
    return none_or_error(result);
}

static PyObject *fdio_rcvlowat(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int a[2];
    if (only_ints(args, given, a, 2) < 0) return NULL;
    return none_or_error(set_int(a[0], SOL_SOCKET, SO_RCVLOWAT, a[1]));
}

/* ---- looking, dropping, sending ---- */

static PyObject *fdio_peek(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int a[2];
    ssize_t count;
    if (only_ints(args, given, a, 2) < 0) return NULL;
    if (a[1] < 1 || a[1] > BUFFER_SIZE) {
        PyErr_SetString(PyExc_ValueError, "size must be 1..BUFFER");
        return NULL;
    }
    RETRY_EINTR(count, recv(a[0], buffer, (size_t)a[1], MSG_PEEK | MSG_DONTWAIT));
    if (count >= 0) return PyBytes_FromStringAndSize(buffer, count);
    if (errno == EAGAIN) Py_RETURN_NONE;
    return os_error();
}

/* MSG_TRUNC saves TCP the copy; a Unix socket ignores it and copies, hence the real buffer. */
static PyObject *fdio_discard(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int a[2], gone = 0;
    if (only_ints(args, given, a, 2) < 0) return NULL;
    while (gone < a[1]) {
        ssize_t count;
        size_t wanted = (size_t)Py_MIN(a[1] - gone, BUFFER_SIZE);
        RETRY_EINTR(count, recv(a[0], buffer, wanted, MSG_TRUNC | MSG_DONTWAIT));
        if (count < 0 && errno != EAGAIN) return os_error();
        if (count <= 0) break;
        gone += (int)count;
    }
    return PyLong_FromLong(gone);
}

typedef ssize_t put_call(int fd, const void *data, size_t size);

static ssize_t send_quietly(int fd, const void *data, size_t size) {
    return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static PyObject *put(PyObject *const *args, Py_ssize_t given, put_call *call) {
    Py_buffer data;
    ssize_t count;
    int fd;
    if (arity(given, 2) < 0 || as_ints(args, &fd, 1) < 0) return NULL;
    if (PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    RETRY_EINTR(count, call(fd, data.buf, (size_t)data.len));
    int code = errno;
    PyBuffer_Release(&data);
    if (count < 0 && code != EAGAIN) return os_error_of(code);
    return PyLong_FromSsize_t(Py_MAX(count, 0));
}

static ssize_t send_with_more(int fd, const void *data, size_t size) {
    return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
}

static PyObject *fdio_send_more(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return put(args, given, send_with_more);
}

static PyObject *fdio_send(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return put(args, given, send_quietly);
}

static PyObject *fdio_pipe_put(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return put(args, given, write);
}

/* ---- carrying ---- */

static PyObject *pump_result(enum state state, Py_ssize_t moved, PyObject *extra) {
    return tuple_of(3, PyLong_FromLong(state), PyLong_FromSsize_t(moved), extra, NULL);
}

static PyObject *pump_ended(enum state state, Py_ssize_t moved) {
    Py_INCREF(Py_None);
    return pump_result(state, moved, Py_None);
}

static PyObject *fdio_pump(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int fd[2]; /* source, destination */
    Py_ssize_t moved = 0;
    if (arity(given, 4) < 0 || as_ints(args, fd, 2) < 0) return NULL;
    Py_ssize_t limit = PyLong_AsSsize_t(args[2]);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    int hup = PyObject_IsTrue(args[3]);
    if (hup < 0) return NULL;

    while (moved < limit) {
        ssize_t wanted = Py_MIN(limit - moved, BUFFER_SIZE), got, taken;
        RETRY_EINTR(got, recv(fd[0], buffer, (size_t)wanted, MSG_DONTWAIT));
        if (got == 0) return pump_ended(AT_EOF, moved);
        if (got < 0) {
            if (errno == EAGAIN) return pump_ended(DRAINED, moved);
            return pump_result(READ_ERROR, moved, PyLong_FromLong(errno));
        }
        /* The end is near: look for it before the last bytes are sent. Known to be the last they are held back
           (MSG_MORE) until the caller passes the end on, and then travel in one segment with the FIN. */
        int last = 0, broken = 0;
        while (hup && got < wanted && !last && !broken) {
            ssize_t next;
            RETRY_EINTR(next, recv(fd[0], buffer + got, (size_t)(wanted - got), MSG_DONTWAIT));
            if (next < 0 && errno == EAGAIN) break;
            if (next < 0) broken = errno; /* told once by the kernel, so it must not be lost here */
            if (next == 0) last = 1;
            if (next > 0) got += next;
        }
        RETRY_EINTR(taken, send(fd[1], buffer, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT | (last ? MSG_MORE : 0)));
        if (taken < 0) {
            if (errno != EAGAIN) return pump_result(WRITE_ERROR, moved, PyLong_FromLong(errno));
            taken = 0;
        }
        moved += taken;
        if (broken) return pump_result(READ_ERROR, moved, PyLong_FromLong(broken));
        if (taken < got) return pump_result(BLOCKED, moved, PyBytes_FromStringAndSize(buffer + taken, got - taken));
        if (last) return pump_ended(AT_EOF, moved);
        if (got < wanted && !hup) return pump_ended(DRAINED, moved);
    }
    return pump_ended(MORE, moved);
}

static PyObject *splice_result(enum state state, Py_ssize_t moved, Py_ssize_t in_pipe, int code) {
    return tuple_of(4, PyLong_FromLong(state), PyLong_FromSsize_t(moved), PyLong_FromSsize_t(in_pipe), PyLong_FromLong(code));
}

/* Always out until the pipe is empty, then in: EAGAIN on the way in would otherwise mean "no data" or "no free slot".
 * A short splice in proves nothing, for slots may have run out before the data did; a short splice out neither, for a
 * signal may have cut it. So both go on until EAGAIN.
 * SPLICE_F_MORE is left out: it corks the last segment although nothing may follow. SPLICE_F_MOVE has had no effect
 * since Linux 2.6.21 (splice(2)). */
static PyObject *fdio_splice_pump(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    int fd[4]; /* source, pipe's reading end, pipe's writing end, destination */
    Py_ssize_t moved = 0;
    if (arity(given, 6) < 0 || as_ints(args, fd, 4) < 0) return NULL;
    Py_ssize_t in_pipe = PyLong_AsSsize_t(args[4]);
    if (in_pipe == -1 && PyErr_Occurred()) return NULL;
    Py_ssize_t limit = PyLong_AsSsize_t(args[5]);
    if (limit == -1 && PyErr_Occurred()) return NULL;

    for (;;) {
        ssize_t count;
        while (in_pipe > 0) {
            RETRY_EINTR(count, splice(fd[1], NULL, fd[3], NULL, (size_t)in_pipe, SPLICE_F_NONBLOCK));
            if (count < 0 && errno == EAGAIN) return splice_result(BLOCKED, moved, in_pipe, 0);
            /* 0 cannot be, unless the caller counted wrong: say so instead of spinning */
            if (count <= 0) return splice_result(WRITE_ERROR, moved, in_pipe, count < 0 ? errno : EIO);
            in_pipe -= count;
            moved += count;
        }
        if (fd[0] < 0) return splice_result(DRAINED, moved, 0, 0);
        if (moved >= limit) return splice_result(MORE, moved, 0, 0);
        size_t wanted = (size_t)Py_MIN(limit - moved, SPLICE_CHUNK);
        RETRY_EINTR(count, splice(fd[0], NULL, fd[2], NULL, wanted, SPLICE_F_NONBLOCK));
        if (count == 0) return splice_result(AT_EOF, moved, 0, 0);
        if (count < 0) {
            if (errno == EAGAIN) return splice_result(DRAINED, moved, 0, 0);
            return splice_result(READ_ERROR, moved, 0, errno);
        }
        in_pipe = count;
    }
}

static PyObject *fdio_pipe(PyObject *Py_UNUSED(module), PyObject *argument) {
    int size, ends[2];
    if (as_ints(&argument, &size, 1) < 0) return NULL;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return os_error();
    /* May be refused past /proc/sys/fs/pipe-max-size or the user's quota; a smaller pipe carries the same bytes. */
    if (size > 0) (void)fcntl(ends[1], F_SETPIPE_SZ, size);
    PyObject *pair = tuple_of(2, PyLong_FromLong(ends[0]), PyLong_FromLong(ends[1]), NULL, NULL);
    if (!pair) {
        close(ends[0]);
        close(ends[1]);
    }
    return pair;
}

/* ---- the module ---- */

#define FAST(name) {#name, (PyCFunction)(void (*)(void))fdio_##name, METH_FASTCALL, NULL}
#define ONE(name) {#name, fdio_##name, METH_O, NULL}

static PyMethodDef methods[] = {
    ONE(accept),    FAST(connect), FAST(connect_from), ONE(original), ONE(so_error),    FAST(peek),      FAST(discard),
    FAST(send),     FAST(send_more), FAST(pump),       ONE(pipe),     FAST(pipe_put),    FAST(splice_pump), ONE(shutdown_write),
    ONE(linger_reset),
    ONE(close),     ONE(sockname), ONE(set_nodelay), FAST(keepalive), FAST(rcvlowat),    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "ferryman.dataplane._fdio", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fdio(void) {
    static const struct { const char *name; long value; } constants[] = {
        {"BUFFER", BUFFER_SIZE}, {"DRAINED", DRAINED},       {"MORE", MORE},
        {"EOF", AT_EOF},         {"BLOCKED", BLOCKED},       {"READ_ERROR", READ_ERROR},
        {"WRITE_ERROR", WRITE_ERROR},
    };
    PyObject *module = PyModule_Create(&definition);
    for (size_t i = 0; module && i < sizeof constants / sizeof *constants; i++) {
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0) Py_CLEAR(module);
    }
    return module;
}
