#!/usr/bin/env bash
# Installs Debian's nginx, openssl and prometheus for `make serve-edge` and `make test-edge`, without starting them as
# services. Needs root.
set -euo pipefail

missing=()
for program in nginx openssl prometheus; do
    [ -n "$(PATH="$PATH:/usr/sbin" command -v "$program")" ] || missing+=("$program")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install_edge: ${missing[*]} must be on the machine; this script can install them only as root on Debian" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d # Debian's way to say that an installation starts no service
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
