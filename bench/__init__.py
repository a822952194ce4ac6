"""The comparison with the peers: one command, one table.

`python -m bench` starts ferryman and its peers in turn on one CPU with one worker each, puts the same load on them from
the other CPU, and prints what each operation cost: HAProxy and nginx where ferryman forwards, stunnel and hitch as well
where TLS ends in it, Squid and tinyproxy where it is an explicit proxy. The way through the files:

    __main__    options, the rounds (A B C A B C ...), exit code
    peers       how each proxy is configured and started
    trial       one measurement: start, warm up, load, look
    loads       the workloads, and the servers behind the proxies
    clients     those that speak CONNECT or PROXY, and look at what TLS agreed on
    network     client, proxy and server as three machines
    guests      a hypervisor's guest before its transparent proxy; also what bringing bridges up takes
    certificates
                the authorities and certificates of proxies and servers
    process     starting, pinning and stopping; free ports; the log sink
    measure     CPU time and memory of a proxy's processes, from /proc
    stalls      CPU time that the host of a virtual machine took away
    report      medians, ratios, targets; table and JSON
    volumes     `migrate` against rsync over stunnel
    verbs       commands that somebody waits for: doctor, policy check

Nothing here is imported by the product.
"""
