"""OpenNebula's transparent proxies: guests of isolated networks reach services at 169.254.16.9.

    settings options    OpenNebulaNetwork.conf: which services there are, on which virtual networks, and what else
    names               what devices, namespaces, processes and files are called
    driver              up, down, apply, heal; by what follows:
      database flush      nftables: the services of each bridge, and who may be 169.254.16.9
      links openvswitch   devices, namespaces, addresses, routes
      state               which bridges there are to be; the lock
    daemons             found, started, stopped
      outer native        one_tproxy: a supervisor whose plan is what nftables holds
      holder              one_tproxy_BRIDGE: the sockets in the bridge's namespace
    overview            what there is, for people and programs
    doctor symptoms guests    what is wrong, and mending it
    install             in the place of OpenNebula's own

Called by cli.tproxy. The carrying itself is the ordinary engine's: nothing here touches a byte of a connection.
"""
