#!/bin/sh
# Makes the environment that every make target uses. Called by `make setup`; PYTHON names the interpreter.
set -eu
venv=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: needs Python 3.11 or newer, got $("$python" --version 2>&1 || echo none); name one: make setup PYTHON=python3.11" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

install() {
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check \
        --constraint requirements/constraints.txt "$@"
}
echo "Setting up $venv (about 2.3 GB, once)"
install setuptools wheel # the library is built here, in this environment, not in one that pip fetches
install --no-build-isolation --editable '.[serve,train,export,otel,ray,dev]'
