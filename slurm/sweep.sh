#!/bin/bash
# Trains the members of a list as a job array, a task a member, then prints their tables in a dependent job. Run it on a
# login node, from anywhere; or by sbatch, where only jobs may submit jobs:
#
#   slurm/sweep.sh configs/sweeps/regdb.list data.root=/data/RegDB
#   slurm/sweep.sh --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8 configs/sweeps/ablation.list
#
# Arguments before the list are sbatch's options (as --name=value), those after it are added to each member. The
# same command again leaves out the members that are finished; the others resume from their checkpoints. Environment,
# besides those of slurm/train.sh:
#   AT_ONCE   members trained at the same time (default: as many as the cluster lets)
set -euo pipefail
launched_from=$PWD
script=$(readlink -f "${BASH_SOURCE[0]}")
if [ ! -e "$(dirname "$script")/train.sh" ] && [ -n "${SLURM_JOB_ID:-}" ]; then  # sbatch runs a copy of this script
  script=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/^ *Command=\(.*\/slurm\/sweep\.sh\).*/\1/p')
fi
cd "$(dirname "$script")/.."
source slurm/environment.sh

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' slurm/sweep.sh; }
options=() shared=()
while [[ ${1:-} == -* ]]; do
  if [[ $1 == --help || $1 == -h ]]; then usage; exit; fi
  options+=("$1")
  case $1 in --partition=* | -p* | --account=* | -A* | --qos=* | -q*) shared+=("$1") ;; esac
  shift
done
[ $# -gt 0 ] || { usage >&2; exit 2; }
list=$1
shift
if [ -e "$launched_from/$list" ]; then list=$launched_from/$list; fi
if [ ! -e "$list" ] && [ ${#options[@]} -gt 0 ]; then
  echo "error: $list: no such list of runs; sbatch's options stand before it as --name=value, found ${options[*]}" >&2
  exit 2
fi
name=$(basename "$list" .list)

unfinished=$("${python[@]}" -m pipeline.sweep "$list" --unfinished "$@")
if [ -z "$unfinished" ]; then exec "${python[@]}" -m pipeline.sweep "$list" --tables "$@"; fi
array=$(sbatch --parsable --job-name="$name" --output="$launched_from/%x-%A_%a.out" \
  --array="$unfinished${AT_ONCE:+%$AT_ONCE}" \
  "${options[@]}" "$PWD/slurm/train.sh" --sweep "$list" "$@")
array=${array%%;*}
# afterany: a member that failed must not keep back the tables of the others
tables=$(sbatch --parsable --job-name="$name-tables" --output="$launched_from/%x-%j.out" \
  --dependency="afterany:$array" --time=30 \
  "${shared[@]}" --wrap="cd $(printf %q "$PWD") && exec bash slurm/tables.sh $(printf '%q ' "$list" "$@")")
echo "array $array: members $unfinished of $list; then tables by job ${tables%%;*}"
