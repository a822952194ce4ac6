#!/bin/sh
# Make a virtual environment with pip on any machine that has python3: sh scripts/venv.sh PYTHON DIRECTORY
#
# Debian splits ensurepip off into python3-venv. Where that is missing it is installed (root and apt), or else pip is
# fetched from the package index. Safe to run again on an environment that works.
set -eu
python=$1
directory=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "ferryman needs Python 3.11 or newer; '$python' is $("$python" -V 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }

if "$directory/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3-venv and ca-certificates"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv ca-certificates >/dev/null ||
        echo "apt-get failed; fetching pip from the package index instead" >&2
fi
if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv --clear "$directory"
else
    "$python" -m venv --clear --without-pip "$directory"
    "$directory/bin/python" scripts/bootstrap_pip.py
fi
