#!/usr/bin/env bash
# Trains stage 1, the pseudo label generator, with one process per GPU, or any
# number of processes on CPU.
#
# usage: tools/dist_train_multi_task.sh CONFIG GPUS [ARGUMENTS OF tools/train.py]
#
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT, on each of them;
# GPUS is then the number per machine. tools/dist_launch.sh lists the variables.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/dist_launch.sh"

require_arguments 2 "$@"
launch "$2" train.py "$1" --launcher pytorch "${@:3}"
