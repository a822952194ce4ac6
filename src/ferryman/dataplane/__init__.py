"""One worker: a process, an epoll loop, a thread. Reads a plan, carries connections, writes counters and log lines.

    worker    the process: takes plans and orders from the supervisor
    loop      epoll, the table of descriptors, coarse time
    listener  accept, limits
    session   the journey of one connection, accept to tunnel
    relay     two sockets and what flows between them
    balance   which server
    record    what a connection leaves behind; accesslog makes the line of it, syslog the frame around the line
    questions what has to be asked of the supervisor, and answers that are remembered (cache)
    counters  numbers in shared memory, one writer per cell
    fdio      system calls on bare descriptors, in C with a Python twin

Knows the plan; nothing of files, dialects or the control plane.
"""
