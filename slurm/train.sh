#!/bin/bash
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1          # ranks per node; on GPUs as many as --gpus-per-node
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120          # to this shell only, two minutes before the time limit
#SBATCH --requeue
#SBATCH --open-mode=append           # a requeued job appends to the same log
#SBATCH --output=%x-%j.out
#
# Trains on one node or many, with GPUs or without. At the time limit or when pre-empted it saves, requeues itself and
# resumes; a rank that fails ends the job on all nodes.
#
#   sbatch slurm/train.sh configs/sysu.yaml data.root=/data/SYSU-MM01
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8 slurm/train.sh configs/sysu.yaml \
#          batch.ids_per_batch=64
#
# Submit from anywhere: paths in the arguments are relative to the project's folder. The project, the run folder and the
# data must be visible to all nodes. All output is in this job's log, each line with its rank, and each rank's also in
# runs/<name>/slurm/<job>/. Environment, besides MODULES, VENV and CONTAINER (slurm/environment.sh):
#   PROJECT       the project's folder (default: where this script was submitted from)
#   MASTER_PORT   of the ranks' meeting (default: from the job's number)
#   MAX_RESTARTS  requeues before giving up (default 20)
#   STOP_SECONDS  for the next step and its checkpoint after the warning; then requeued without it (default 90)
# OMP_NUM_THREADS, GLOO_SOCKET_IFNAME and NCCL_* are left as they are where they are set.
set -euo pipefail

fail() { echo "error: $*" >&2; exit 1; }
field() { scontrol show job "$job" -o | head -n 1 | sed -n "s/.* $1=\([^ ]*\).*/\1/p"; }

: "${SLURM_JOB_ID:?submit this with sbatch}"
# The number to requeue: on the last task of an array SLURM_JOB_ID is the whole array's.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
job=${job:-$SLURM_JOB_ID}

# Slurm runs a copy of this script from a folder of its own; where the original is, it knows.
submitted=$(scontrol show job "$job" | sed -n 's/^ *Command=//p' | head -n 1)
if [ -z "${PROJECT:-}" ]; then
  case $submitted in */slurm/train.sh*) PROJECT=${submitted%/slurm/train.sh*} ;; *) PROJECT=$SLURM_SUBMIT_DIR ;; esac
fi
[ -e "$PROJECT/pipeline/train.py" ] || fail "PROJECT: expected the project's folder; found $PROJECT"
cd "$PROJECT"
source slurm/environment.sh

# Arguments of the training: those given, or of the member of a sweep (slurm/sweep.sh) that this task of an array is.
arguments=("$@")
if [ "${1:-}" = --sweep ]; then
  list=$2
  shift 2
  member=$("${python[@]}" -m pipeline.sweep "$list" --member "$SLURM_ARRAY_TASK_ID" "$@")
  mapfile -t arguments <<<"$member"
fi
folder=$("${python[@]}" -m pipeline.run.folder "${arguments[@]}")
logs=$folder/slurm/$job
mkdir -p "$logs"
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do touch "$logs/rank-$rank.txt"; done  # also of silent ones

per_node=$((SLURM_NTASKS / SLURM_JOB_NUM_NODES))
[ $((per_node * SLURM_JOB_NUM_NODES)) -eq "$SLURM_NTASKS" ] ||
  fail "expected as many tasks on each node; found $SLURM_NTASKS on $SLURM_JOB_NUM_NODES nodes"
gpus=${SLURM_GPUS_ON_NODE:-$per_node}
[ "$per_node" -le "$gpus" ] || fail "expected a GPU for every task; found $gpus GPUs for $per_node tasks on a node"
[ "$per_node" -eq "$gpus" ] || echo "warning: $per_node of $gpus GPUs of a node are used; --ntasks-per-node=$gpus"

# The addresses Slurm itself uses for the first two nodes, and a port below the ephemeral range, another for every job.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address_of() { scontrol show node "$1" -o | sed -n 's/.* NodeAddr=\([^ ]*\) .*/\1/p'; }
MASTER_ADDR=$(address_of "${nodes[0]}")
SECOND_ADDR=$(address_of "${nodes[1]:-${nodes[0]}}")
export MASTER_ADDR SECOND_ADDR
export MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 10000))}
# A core is left to the loader: torch's threads wait for each other, and for whoever takes one of their cores.
cores=${SLURM_CPUS_PER_TASK:-1}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > 1 ? cores - 1 : 1))}
there=$(scontrol show node "${nodes[0]}" -o | sed -n 's/.* CPUTot=\([0-9]*\) .*/\1/p')
if [ "$cores" -eq 1 ] && [ "${there:-1}" -ge $((2 * per_node)) ]; then
  echo "warning: a rank has one core for torch and the loader, of $there on a node; --cpus-per-task=$((there / per_node))"
fi
export NCCL_DEBUG=${NCCL_DEBUG:-WARN} PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
echo "job $job, restart ${SLURM_RESTART_COUNT:-0}: $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST, meeting at" \
  "$MASTER_ADDR:$MASTER_PORT; logs in $logs"

requeue() {
  local state
  state=$(field JobState)
  # whoever cancelled it gets no job back, and whoever requeued or pre-empted it has seen to that
  if [ "$state" != RUNNING ]; then
    echo "$1; the job is $state already, and comes back only if it was requeued"
    exit 0
  fi
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_RESTARTS:-20}" ]; then fail "$1; no restart left"; fi
  echo "$1; requeueing $job"
  trap '' TERM USR1
  scontrol requeue "$job" && sleep 60  # Slurm ends this script now
}

# Once STOP_FILE exists the training saves a checkpoint after its next step and ends with status 0.
export STOP_FILE=$PWD/$logs/stop
case $logs in /*) STOP_FILE=$logs/stop ;; esac
rm -f "$STOP_FILE"
stopping='' watchdog=''
# shellcheck disable=SC2317  # called by the traps
ask_to_stop() {
  stopping=1
  echo "$1: asking for a checkpoint"
  touch "$STOP_FILE"
}
trap 'ask_to_stop "told to end"' TERM
trap 'ask_to_stop "time limit or pre-emption near"
  { sleep "${STOP_SECONDS:-90}" && requeue "no checkpoint in time, resuming from the one before"; } & watchdog=$!' USR1

# Each line goes to this log, and without its rank to the file of the rank.
split_by_rank() {
  while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ $line =~ ^\ *([0-9]+):\ ?(.*) ]] || continue
    printf '%s\n' "${BASH_REMATCH[2]}" >>"$logs/rank-${BASH_REMATCH[1]}.txt"
  done
}
exec 3> >(trap '' TERM USR1; split_by_rank)
splitting=$!

# One task a rank. --kill-on-bad-exit: otherwise one dead rank leaves the others waiting until the time limit.
# --cpus-per-task: srun has not inherited it from sbatch since Slurm 22.05.
srun --kill-on-bad-exit=1 --label ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
  bash slurm/rank.sh "${arguments[@]}" >&3 2>&1 3>&- &
srun_pid=$!
exec 3>&-
while :; do                          # a trapped signal interrupts wait
  stopping=''
  status=0
  wait "$srun_pid" || status=$?      # once it has ended, the same status each time
  [ -n "$stopping" ] || break
done
wait "$splitting" || true
if [ -n "$watchdog" ]; then kill "$watchdog" 2>/dev/null || true; fi

if [ "$status" -ne 0 ]; then
  echo "error: the training failed with status $status; the lines above and $logs say why" >&2
elif [ -e "$STOP_FILE" ] && [ ! -e "$folder/finished" ]; then
  rm -f "$STOP_FILE"
  requeue "checkpoint written"
fi
exit "$status"
