#!/usr/bin/env bash
# Runs the tests, after setting up the environment where that is needed.
#
# usage: bash tests/run.sh [--all] [ARGUMENTS OF pytest]
#
# Tests marked slow are left out unless --all or a -m of your own is given.
# Without arguments they run on all cores, up to 4 (pytest-xdist); "-n 0" runs
# them one after the other. Paths are relative to the checkout. MBOS_REAL_DATA names a folder of real raw
# collections (DRIVE, IDRiD, Drishti-GS) for the tests that want one; those are
# skipped without it. MBOS_SETUP=0 skips the set-up and takes PYTHON, or python.
set -euo pipefail
ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

if [[ ${MBOS_SETUP:-1} == 0 ]]; then
    PYTHON=${PYTHON:-python}
else
    bash "$ROOT/tools/setup_env.sh"
    PYTHON=${MBOS_VENV:-$ROOT/.venv}/bin/python
    [[ $PYTHON == /* ]] || PYTHON=$PWD/$PYTHON
fi

cd "$ROOT"
if [[ -z ${MBOS_REAL_DATA:-} && -d ../shared/fundus_real ]]; then
    MBOS_REAL_DATA=$(cd ../shared/fundus_real && pwd)
    export MBOS_REAL_DATA
fi
# The tensors of the tests are small: more threads would only get in each
# other's way, and in that of the processes that some tests start.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

arguments=(-m 'not slow')
passed_on=()
for argument in "$@"; do
    case $argument in
    --all) arguments=() ;;
    -m | -m?*) arguments=() passed_on+=("$argument") ;;
    *) passed_on+=("$argument") ;;
    esac
done
if ((${#passed_on[@]} == 0)) && "$PYTHON" -c 'import xdist' 2>/dev/null; then
    passed_on=(-n auto --maxprocesses 4 --dist worksteal)
fi
exec "$PYTHON" -m pytest "${arguments[@]}" "${passed_on[@]}"
