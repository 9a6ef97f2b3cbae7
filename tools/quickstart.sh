#!/usr/bin/env bash
# Sets up the environment, then trains and tests on fundus photographs, from
# the raw collections to one table and pictures.
#
# usage: bash tools/quickstart.sh [--real DIR] [ARGUMENTS OF tools/quickstart.py]
#
# Without --real the photographs are generated: about 10 minutes on 2 cores,
# after the set-up. DIR holds DRIVE, IDRiD and Drishti-GS as their owners
# publish them: up to an hour. Run it again to go on where it was stopped.
# MBOS_SETUP=0 skips the set-up and takes PYTHON, or python.
set -euo pipefail
ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

for argument in "$@"; do
    if [[ $argument == --help || $argument == -h ]]; then # without a set-up
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit
    fi
done

if [[ ${MBOS_SETUP:-1} == 0 ]]; then
    PYTHON=${PYTHON:-python}
else
    bash "$ROOT/tools/setup_env.sh"
    PYTHON=${MBOS_VENV:-$ROOT/.venv}/bin/python
    [[ $PYTHON == /* ]] || PYTHON=$PWD/$PYTHON
fi
export PYTHON PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
exec "$PYTHON" "$ROOT/tools/quickstart.py" "$@"
