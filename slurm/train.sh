#!/bin/bash
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1          # ranks per node; on GPUs as many as --gpus-per-node
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120          # to this shell only, two minutes before the time limit
#SBATCH --requeue
#SBATCH --open-mode=append           # a requeued job goes on writing the same log
#SBATCH --output=%x-%j.out
#
# Trains on one node or many, with GPUs or without; a job that reaches its time limit saves, requeues itself and goes on.
#
#   sbatch slurm/train.sh configs/sysu.yaml data.root=/data/SYSU-MM01
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8 slurm/train.sh configs/sysu.yaml \
#          batch.ids_per_batch=64
#
# Submit from the project's folder. The run folder and the data must be visible to all nodes. Environment:
#   VENV          virtual environment to activate (default: .venv of the project where there is one)
#   MASTER_PORT   of the ranks' meeting (default: from the job's number)
#   MAX_RESTARTS  requeues before giving up (default 20)
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?run this with sbatch}"
VENV=${VENV:-$PWD/.venv}
if [ -e "$VENV/bin/activate" ]; then source "$VENV/bin/activate"; fi

# The number to requeue: on the last task of an array SLURM_JOB_ID is the whole array's.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
job=${job:-$SLURM_JOB_ID}
export STOP_FILE=$PWD/.stop-$job     # once it exists, training saves a checkpoint and ends with status 0
rm -f "$STOP_FILE"

# The address Slurm itself uses for the first node, and a port below the ephemeral range, another for every job.
first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node "$first_node" -o | sed -n 's/.* NodeAddr=\([^ ]*\) .*/\1/p')
export MASTER_ADDR=${address:-$first_node}
export MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 10000))}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
echo "job $job, restart ${SLURM_RESTART_COUNT:-0}: $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST, meeting at $MASTER_ADDR:$MASTER_PORT"

# One task a rank, with Slurm's numbers under the names that torch.distributed and Accelerate know.
# --kill-on-bad-exit: otherwise one dead rank leaves the others waiting until the time limit.
# --cpus-per-task: srun has not inherited it from sbatch since Slurm 22.05.
stopping=
trap 'stopping=1; touch "$STOP_FILE"; echo "time limit near: asking for a checkpoint"' USR1
srun --kill-on-bad-exit=1 --label ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
  export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES)) NODE_RANK=$SLURM_NODEID
  exec python -m pipeline.train "$@"' _ "$@" &
srun_pid=$!
while :; do                          # a trapped signal interrupts wait
  stopping=
  status=0
  wait "$srun_pid" || status=$?
  [ -n "$stopping" ] || break
done

if [ "$status" -eq 0 ] && [ -e "$STOP_FILE" ]; then
  rm -f "$STOP_FILE"
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_RESTARTS:-20}" ]; then
    echo "checkpoint written; no restart left" >&2
    exit 1
  fi
  echo "checkpoint written; requeueing $job"
  scontrol requeue "$job" && sleep 60  # Slurm ends this script now
fi
exit "$status"
