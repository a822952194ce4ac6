"""Do a cluster's policies let a migration's connections through, which rule decides, what is the smallest change?

    objects    NetworkPolicy, EgressNetworkPolicy, EgressFirewall as values; the world they are in
    reading    manifests -> objects (fields, networking and firewalls have the parts); what is wrong is reported
    answer     yes, no, and "cannot be known, because"
    selectors  labels and selectors
    networking NetworkPolicy: does it let a connection through?
    egress     EgressNetworkPolicy and EgressFirewall: the same
    flows      which connections a migration needs (F1 names, F2 out of the source, F3 into the destination)
    ruling     all policies of a flow: ALLOWED, DENIED by what, UNKNOWN why
    advice     the smallest change that lets a denied flow through
    story      one flow, step by step
    mistakes   what is wrong with policies that are each valid by itself

Pure: manifests come from `kubernetes`, nothing is asked of any network.
"""
