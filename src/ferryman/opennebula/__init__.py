"""OpenNebula's transparent proxies: guests of isolated networks reach services at 169.254.16.9.

settings  OpenNebulaNetwork.conf: which services there are, and on which virtual networks

Called by cli.tproxy. The carrying itself is the ordinary engine's: nothing here touches a byte of a connection.
"""
