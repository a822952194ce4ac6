"""Will a path carry a migration, and where does it break?

    path.py          what is examined, and the deadlines
    tunnel.py        connections: straight, or through the proxy with CONNECT
    answer.py        what a proxy answered, however odd it is; pure
    tlsstream.py     TLS of which the bytes sent are known
    reach.py         names, and whether anybody listens
    proxy.py         CONNECT: credentials, ports, answers
    handshake.py     TLS, and what is shown; judged in certificate.py
    greeting.py      does rsync speak at the far end?
    streams.py       what else a tunnel must carry: needs the far end that cooperates
    control.py       the way to an API server: Upgrade, SPDY, WebSocket
    pairing.py       the token by which both ends know each other
    farend.py        the far end that cooperates
    verdicts.py      what can be found, what it means, what to do
    report.py        what was found
    examine.py       the probes in their order; where to begin reading

Called by cli.doctor. It is a client: no server of ferryman's runs, and no plan is known.
"""
