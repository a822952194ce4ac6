"""What the kernel needs so that connections to other machines come to ferryman, and answers to its clients' addresses.

setup     what is wanted: which connections, to which listener; made from a plan or from options
ruleset   the same as nftables rules, routing rules and routes: text; pure
kernel    what is there, and changing it: by nft(8) and ip(8), all or nothing

Called by cli.transparent alone. The proxy itself never changes the firewall.
"""
