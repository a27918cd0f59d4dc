# shellcheck shell=bash
# The environment of jobs, sourced by train.sh and sweep.sh in the project's folder. Chosen by variables:
#   MODULES    modules to load first, e.g. "cuda/13.0 python/3.11"
#   VENV       virtual environment to activate (default: .venv of the project where there is one; none in a container)
#   CONTAINER  what comes before every python, e.g. "apptainer exec --nv --bind /data image.sif"
if [ -n "${MODULES:-}" ]; then
  set +u  # module systems read variables that aren't set
  # shellcheck disable=SC2086  # several modules are several words
  module load $MODULES || { echo "error: MODULES: \`module load $MODULES\` failed" >&2; exit 1; }
  set -u
fi
if [ -n "${VENV:-}" ] && [ ! -e "$VENV/bin/activate" ]; then
  echo "error: VENV: expected a virtual environment; found no $VENV/bin/activate" >&2
  exit 1
fi
if [ -z "${VENV:-}${CONTAINER:-}" ] && [ -e .venv/bin/activate ]; then VENV=$PWD/.venv; fi
if [ -n "${VENV:-}" ]; then
  # shellcheck source=/dev/null
  source "$VENV/bin/activate"
fi
# shellcheck disable=SC2206,SC2034  # a prefix is several words; used by those who source this
python=(${CONTAINER:-} python)
