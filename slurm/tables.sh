#!/bin/bash
# The last job of slurm/sweep.sh, in the project's folder: how far each member came, and the tables of the finished.
set -euo pipefail
source slurm/environment.sh
exec "${python[@]}" -m pipeline.sweep "$1" --tables "${@:2}"
