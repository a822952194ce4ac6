"""ferryman: a layer-4 proxy."""
