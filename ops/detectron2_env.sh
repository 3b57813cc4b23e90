#!/bin/sh
# Makes the environment in which our detectors meet detectron2's own code; called by `make test-detectron2`.
#
#     sh ops/detectron2_env.sh .venv build/detectron2
#
# It lies on top of .venv and adds what detectron2 imports. detectron2 itself is the source distribution of release 0.6 that
# the registry has under another name, taken by its hash and unpacked, never installed: its set-up compiles what is not in it.
set -eu
venv=$1
folder=$2
wanted=tests/detectron2

"$venv/bin/python" -m venv --clear --without-pip "$folder/env"
python=$folder/env/bin/python
beneath=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$beneath" > "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beneath.pth"

pip() {
    "$python" -m pip "$@" --quiet --quiet --disable-pip-version-check --no-deps
}
echo "Setting up $folder (about 10 MB, once)"
pip install pip==23.2.1 # later ones refuse a distribution that names a requirement by its address
pip install --no-build-isolation --requirement $wanted/requirements.txt
pip download --no-build-isolation --require-hashes --requirement $wanted/source.txt --dest "$folder"
tar -xzf "$folder/pb1-detectron2-0.6.tar.gz" -C "$folder"
