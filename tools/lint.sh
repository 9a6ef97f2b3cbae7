#!/usr/bin/env bash
# Checks the style of every Python file and the syntax of every shell script.
#
# usage: tools/lint.sh          report and fail
#        tools/lint.sh --fix    reformat (ruff, isort, yapf), then report
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." || exit 1
PYTHON=${PYTHON:-${MBOS_VENV:-$PWD/.venv}/bin/python}
FILES=(benchmarks configs mbos prepare_dataset quickstart tests tools setup.py)

failed=0
check() {
    local name=$1
    shift
    if "$@"; then
        echo "[lint] $name: fine"
    else
        echo "[lint] $name: failed" >&2
        failed=1
    fi
}

if [[ ${1:-} == --fix ]]; then
    "$PYTHON" -m ruff check --quiet --fix
    "$PYTHON" -m isort --quiet "${FILES[@]}"
    "$PYTHON" -m yapf --in-place --recursive "${FILES[@]}"
fi
for script in {benchmarks,tests,tools}/*.sh .ci/run; do
    bash -n "$script" || failed=1
done
check ruff "$PYTHON" -m ruff check --quiet
check isort "$PYTHON" -m isort --check-only --diff "${FILES[@]}"
check yapf "$PYTHON" -m yapf --diff --parallel --recursive "${FILES[@]}"
check mypy "$PYTHON" -m mypy --no-error-summary
exit "$failed"
