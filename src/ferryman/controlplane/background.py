"""Going to the background: the parent waits until the child says that everything stands, or why it does not.

Used by `ferryman start` and opennebula.daemons. As daemon(7) has it for the old style: fork, a session of its own, fork
again, nothing of the terminal kept. The working folder stays, because a reload reads relative paths again. Forks before
any thread or event loop.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from ferryman.errors import FerrymanError, StartError

_READY: Final = b"ready "


def start(body: Callable[[Callable[[], None]], int], log_file: str) -> int:
    """Run `body` in a process of its own and return that process's number once the body has called its argument.

    What the process prints goes to `log_file`, or nowhere. Raises StartError with the reason when the body ends
    before it is ready.
    """
    try:
        output = os.open(log_file or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        raise StartError(f"cannot write to {log_file}: {error.strerror}") from None
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become_daemon(body, output, writing)
    os.close(writing)
    os.close(output)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if said.startswith(_READY):
        return int(said.removeprefix(_READY))
    where = f"see {log_file}" if log_file else "`ferryman run` shows what it says"
    raise StartError(said.decode(errors="replace") or f"it ended before it was ready; {where}")


def _become_daemon(body: Callable[[Callable[[], None]], int], output: int, writing: int) -> NoReturn:
    """The first child: leave the terminal, fork again, and run the body there. Never returns, whatever happens."""
    code = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for own, standard in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(own, standard)
        # whatever else the caller has open is not for us, such as a lock that it holds
        os.closerange(3, writing)
        os.closerange(writing + 1, os.sysconf("SC_OPEN_MAX"))
        code = _run(body, writing)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(body: Callable[[Callable[[], None]], int], writing: int) -> int:
    """The body's exit code; a failure is said to the parent, which still listens, and to the log."""
    waiting = [writing]

    def say(text: bytes) -> None:
        while waiting:
            with contextlib.suppress(BrokenPipeError):  # the parent was killed: go on without it
                os.write(waiting[0], text)
            os.close(waiting.pop())

    try:
        return body(lambda: say(_READY + str(os.getpid()).encode()))
    except FerrymanError as error:
        print(f"ferryman: {error}", file=sys.stderr)
        say(str(error).encode())
    except BaseException as error:  # noqa: BLE001 - recorded in both places; this is the top of a process
        traceback.print_exc()
        say("".join(traceback.format_exception_only(error)).strip().encode())
    return 1
