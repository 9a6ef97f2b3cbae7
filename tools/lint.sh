#!/usr/bin/env bash
# Checks the style of every Python file and the syntax of every shell script.
#
# usage: tools/lint.sh          report and fail
#        tools/lint.sh --fix    reformat (ruff, isort, yapf), then report
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." || exit 1
PYTHON=${PYTHON:-${MBOS_VENV:-$PWD/.venv}/bin/python}

# Files that git knows or would take in; in an unpacked archive, all of them.
list_files() {
    if git rev-parse --is-inside-work-tree &>/dev/null; then
        git ls-files --cached --others --exclude-standard -- "$@"
    else
        local pattern
        for pattern in "$@"; do
            find . -path ./.venv -prune -o -name "${pattern##*/}" -print
        done
    fi | sort -u | while read -r file; do
        # Listed by git, but deleted in the working tree.
        [[ ! -f $file ]] || echo "$file"
    done
}

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

check_shell() {
    local file status=0
    for file in "${shell_files[@]}"; do
        bash -n "$file" || status=1
    done
    return "$status"
}

mapfile -t python_files < <(list_files '*.py')
mapfile -t shell_files < <(list_files '*.sh' '.ci/run')
if [[ ${1:-} == --fix ]]; then
    "$PYTHON" -m ruff check --quiet --fix
    "$PYTHON" -m isort --quiet "${python_files[@]}"
    "$PYTHON" -m yapf --in-place "${python_files[@]}"
fi
check "shell syntax of ${#shell_files[@]} scripts" check_shell
check "ruff of ${#python_files[@]} files" "$PYTHON" -m ruff check --quiet
check isort "$PYTHON" -m isort --check-only --diff "${python_files[@]}"
check yapf "$PYTHON" -m yapf --diff --parallel "${python_files[@]}"
check mypy "$PYTHON" -m mypy --no-error-summary
exit "$failed"
