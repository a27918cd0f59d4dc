#!/usr/bin/env bash
# pack.sh [FOLDER]: packs what the GPU check needs on a machine without network into FOLDER (.gpu), 64 MiB at most.
# pack.sh --list: lists what would be packed, and what the machine is expected to have; fetches nothing.
# In the environment: MODE sm90 (for H100 and H200) | slim | full; MIB megabytes of a chunk (60); PYTHON with pip;
# WHEELS a folder with DALI's wheels, fetched before.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); PROJECT=$(cd "$HERE/../.." && pwd)
MODE=${MODE:-sm90}; MIB=${MIB:-60}; PYTHON=${PYTHON:-python3}; LIMIT_MIB=64

# What a machine for PyTorch is expected to have; all else in requirements.txt is packed, in its version there.
PRESENT="torch torchvision accelerate filelock jinja2 joblib matplotlib numpy pandas pillow pyarrow safetensors
  scikit-learn scipy tqdm pytest pytest-xdist"
# Of what DALI wants, on such a machine too, or imported by its experimental.dynamic alone (the last three).
DALI_PRESENT="numpy packaging pyyaml six typing-extensions wheel nvtx libcst makefun"

requirements() { sed -E 's/ *#.*//; /^ *$/d' "$PROJECT/requirements.txt"; }
name_of() { sed -E 's/[][<>=!~; ].*//' <<<"$1"; }
is_present() { grep -qxF "$1" < <(tr -s ' \n' '\n\n' <<<"$PRESENT"); }
small() { requirements | while read -r line; do
  name=$(name_of "$line"); case $name in nvidia-dali*) ;; *) is_present "$name" || echo "$line" ;; esac; done; }
dali() { requirements | grep '^nvidia-dali'; }

if [ "${1:-}" = --list ]; then
  for name in $PRESENT; do echo "present $name"; done
  small | sed 's/^/packed /'; dali | sed 's/^/packed /'
  exit
fi

OUT=${1:-.gpu}; W=$(mktemp -d "${TMPDIR:-/tmp}/gpupack.XXXX"); trap 'rm -rf "$W"' EXIT
# pip wants a platform's name exactly: all that wheels are built for
platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64 --platform linux_x86_64)
for glibc in 39 35 34 31 28 27 26 24 17 12 5; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
fetch() { "$PYTHON" -m pip download -q --disable-pip-version-check --only-binary=:all: --implementation cp \
  --python-version 3.12 --abi cp312 --abi abi3 --abi none "${platforms[@]}" "$@"; }

mapfile -t wanted < <(small)
mkdir "$W/small"; fetch --no-deps -d "$W/small" "${wanted[@]}"
if [ -z "${WHEELS:-}" ]; then WHEELS=$W/wheels; fetch -d "$WHEELS" "$(dali)"; fi
# shellcheck disable=SC2086
"$PYTHON" "$HERE/slimwheel.py" "$WHEELS" "$W/stored" "$MODE" --present $DALI_PRESENT
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$W/stored" -cf "$W/dali.tar" .
xz -9e -T1 --x86 --lzma2=preset=9e,dict=512MiB "$W/dali.tar"

rm -rf "$OUT"; mkdir -p "$OUT"
split -b "${MIB}M" -d -a 2 "$W/dali.tar.xz" "$OUT/dali.tar.xz."
cp "$W"/small/*.whl "$HERE"/{check,install}.sh "$OUT/"
git -C "$PROJECT" archive --format=tar HEAD | xz -9 >"$OUT/project.tar.xz"
(cd "$OUT" && sha256sum -- *) >"$W/SHA256SUMS"; mv "$W/SHA256SUMS" "$OUT/"
ls -l "$OUT"
bytes=$(find "$OUT" -type f -printf '%s\n' | awk '{sum += $1} END {print sum}')
awk -v bytes="$bytes" -v limit="$LIMIT_MIB" 'BEGIN {
  printf "%.1f of %d MiB: %s\n", bytes / 2^20, limit, bytes <= limit * 2^20 ? "fits" : "too large, send chunk by chunk" }'
