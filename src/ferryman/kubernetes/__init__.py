"""What Kubernetes clusters are told: manifests, from files or from a cluster, with the place of every value.

`manifests` reads files, folders and standard input, `cluster` asks a live cluster through kubectl, `documents` makes
data of YAML and JSON text. None of them knows what a manifest is for.
"""
