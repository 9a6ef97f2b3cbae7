#!/usr/bin/env bash
# Tests a checkpoint of either stage: metrics, pictures or both, with one
# process per GPU, or any number of processes on CPU.
#
# usage: tools/dist_test_gan.sh CONFIG CHECKPOINT GPUS
#            [--vis --source MODE --output_dir DIR] [--eval mIoU [--OD]]
#            [ARGUMENTS OF tools/test.py]
#
# MODE is a task (vessel, lesion, odoc) or a source dataset (idrid, reta, ddr,
# refuge). tools/dist_launch.sh lists the environment variables.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/dist_launch.sh"

require_arguments 3 "$@"
launch "$3" test.py "$1" "$2" --launcher pytorch "${@:4}"
