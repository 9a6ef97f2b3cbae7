#!/usr/bin/env bash
# Trains either stage under Slurm.
#
# usage: [GPUS=4] [GPUS_PER_NODE=4] [CPUS_PER_TASK=5] [SRUN_ARGS='...'] [PORT=29500]
#            tools/slurm_train.sh PARTITION JOB_NAME CONFIG
#            [--work-dir DIR] [ARGUMENTS OF tools/train.py]
#
# GPUS is the number over all machines, one process each.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/dist_launch.sh"

require_arguments 3 "$@"
launch_slurm "$1" "$2" train.py "$3" --launcher slurm "${@:4}"
