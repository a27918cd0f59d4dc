#!/usr/bin/env bash
# install.sh [FOLDER]: on the GPU machine: installs the packages of FOLDER (where this file lies), made by pack.sh, into
# $SITE (/tmp/site), next to the machine's own packages, which stay as they are. Exit status 3: a file is missing.
set -euo pipefail
cd "${1:-$(dirname "$0")}"
SITE=${SITE:-/tmp/site}; PYTHON=${PYTHON:-python3}; W=$(mktemp -d /tmp/gpuinstall.XXXX); trap 'rm -rf "$W"' EXIT
while read -r _ file; do [ -f "$file" ] || { echo "$PWD/$file: missing"; exit 3; }; done <SHA256SUMS
sha256sum --quiet -c SHA256SUMS
cat dali.tar.xz.* >"$W/dali.tar.xz"
mkdir "$W/wheels"
"$PYTHON" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' \
  "$W/dali.tar.xz" "$W/wheels"
# --no-deps: the versions of the machine's own packages are its own matter; what is missing shows at the imports below
"$PYTHON" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir --upgrade \
  --target "$SITE" "$W"/wheels/*.whl ./*.whl
PYTHONPATH=$SITE "$PYTHON" - <<'PY'
import nvidia.dali.fn, nvidia.dali.plugin.pytorch, omegaconf, timm, torch

print("DALI", nvidia.dali.__version__, "torch", torch.__version__, "timm", timm.__version__, "in", nvidia.dali.__file__)
PY
