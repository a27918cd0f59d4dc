#!/bin/bash
# One rank of a training: srun starts it once for every task; train.sh has set the environment.
set -euo pipefail

# Slurm's numbers under the names that torch.distributed and Accelerate know.
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES)) NODE_RANK=$SLURM_NODEID
# LOCAL_RANK is the number of the rank's GPU among those it sees. With --gpus-per-task Slurm shows each its own only.
if [ -n "${SLURM_GPUS_PER_TASK:-}" ] && [[ ${CUDA_VISIBLE_DEVICES:-} =~ ^[^,]+$ ]]; then export LOCAL_RANK=0; fi

# Gloo listens on the address of this node's own name, on many systems a loopback address that no other node reaches
# (github.com/pytorch/gloo/issues/223). So it is given the interface that leads to another node.
if [ "$SLURM_NNODES" -gt 1 ] && [ -z "${GLOO_SOCKET_IFNAME:-}" ]; then
  peer=$MASTER_ADDR
  if [ "$SLURM_NODEID" -eq 0 ]; then peer=$SECOND_ADDR; fi
  address=$(getent ahostsv4 "$peer" | awk 'NR == 1 { print $1 }') || address=
  interface=$(ip -o route get "$address" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p') || interface=
  if [ -n "$interface" ]; then export GLOO_SOCKET_IFNAME=$interface; fi
fi

# shellcheck disable=SC2086  # a prefix is several words
exec ${CONTAINER:-} python -m pipeline.train "$@"
