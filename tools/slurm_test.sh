#!/usr/bin/env bash
# Tests a checkpoint of either stage under Slurm.
#
# usage: [GPUS=4] [GPUS_PER_NODE=4] [CPUS_PER_TASK=5] [SRUN_ARGS='...'] [PORT=29500]
#            tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT
#            [--eval mIoU] [ARGUMENTS OF tools/test.py]
#
# GPUS is the number over all machines, one process each.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/dist_launch.sh"

require_arguments 4 "$@"
launch_slurm "$1" "$2" test.py "$3" "$4" --launcher slurm "${@:5}"
