"""The supervisor: owns sockets, workers, health, names, logs, pages, the runtime and control APIs, and signals.

    supervisor   start, run, reload, drain, stop; the one place where the others meet
    background   going to the background once everything stands
    process      one worker process: spawning, frames, restarting
    sockets      listening sockets that survive reloads; systemd's sockets
    serverstate  what is known of each server: admin state, health, weight, addresses
    health       checks that change it
    resolver     names of servers to addresses, refreshed
    answers      what workers ask:
      lookups      names of targets to addresses
      credentials  users and passwords, slower for those who guess
      minting      host certificates, signed by the operator's authority
      learning     clients that refuse those
    logs         opens log targets; the supervisor's own messages
    snapshot     counters and states at one moment, for everything that shows them
    pages        stats page, CSV, /metrics, /healthz over HTTP
    runtime      HAProxy's runtime commands on a socket
    control      the HTTP API on the control socket, for `ferryman status|reload|stop|drain`

Runs on asyncio. Sees no byte of what clients and servers say to each other.
"""
