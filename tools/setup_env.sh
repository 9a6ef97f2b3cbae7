#!/usr/bin/env bash
# Makes or updates the Python environment of this checkout, .venv, without a
# compiler. Does nothing when all is in place; can be stopped and run again.
#
#   bash tools/setup_env.sh           make or update the environment
#   bash tools/setup_env.sh --check   only say what is missing
#
# Environment variables:
#   PYTHON            Python to make the environment with (3.11 to 3.13)
#   MBOS_VENV         where the environment is           (default: .venv)
#   MBOS_TORCH_INDEX  package index to take torch from, for instance
#                     https://download.pytorch.org/whl/cu126
#   MBOS_MMCV=full    compile mmcv-full instead of installing mmcv
#   MBOS_SETUP=0      leave the set-up out and use the Python at hand
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=${MBOS_VENV:-$ROOT/.venv}
[[ $VENV == /* ]] || VENV=$PWD/$VENV
MMCV=mmcv
[[ ${MBOS_MMCV:-} != full ]] || MMCV=mmcv-full
CPU_INDEX=https://download.pytorch.org/whl/cpu
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# What another environment put here would look installed, but not be ours.
unset PYTHONPATH PYTHONHOME

say() { echo "[setup] $*"; }
die() { echo "[setup] $*" >&2 && exit 1; }
pip() { "$VENV/bin/python" -m pip "$@"; }
pinned() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$ROOT/requirements.txt"; }
# Everything that the environment depends on: equal text, nothing to do.
stamp() {
    echo "$ROOT $VENV $MMCV"
    cat "$VENV/pyvenv.cfg" "$ROOT/requirements.txt" "$ROOT/tools/setup_env.sh"
}
in_place() { stamp 2>/dev/null | cmp -s - "$VENV/.mbos_stamp"; }

# Sets BASE, the Python to make the environment with.
find_python() {
    local candidates=(python3.{11,12,13} python3 python
        "$HOME"/.pyenv/versions/3.1[123].*/bin/python)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    if "$VENV/bin/python" -m pip --version &>/dev/null; then
        candidates=("$VENV/bin/python")
    elif [[ -n $(ls "$VENV" 2>/dev/null) && ! -f $VENV/pyvenv.cfg ]]; then
        die "$VENV is not an environment: set MBOS_VENV to another folder."
    fi
    for BASE in "${candidates[@]}"; do
        "$BASE" -c 'import ensurepip, sys, venv  # probe
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' &>/dev/null && return
    done
    die "no Python 3.11 to 3.13 with venv among ${candidates[*]}: install one" \
        '(apt-get install python3.11-venv) and name it, as in' \
        'PYTHON=/path/to/python3.11.'
}

# Sets INDEX, where torch comes from. Without a GPU it is the CPU build, if its
# index offers both packages.
choose_torch() {
    INDEX=()
    if [[ -n ${MBOS_TORCH_INDEX:-} ]]; then
        INDEX=(--index-url "$MBOS_TORCH_INDEX")
    elif [[ $(uname -sm) != 'Linux x86_64' ]]; then
        : # PyPI's own builds are for CPUs there
    elif nvidia-smi -L &>/dev/null; then
        say 'taking the CUDA build of torch: there is an NVIDIA GPU'
    elif "$BASE" -c "import urllib.request  # reach
for name in 'torch-$(pinned torch)', 'torchvision-$(pinned torchvision)':
    url = '$CPU_INDEX/' + name.split('-')[0] + '/'
    assert name.encode() in urllib.request.urlopen(url, timeout=5).read()
" &>/dev/null; then
        INDEX=(--index-url "$CPU_INDEX")
    else
        say 'taking the CUDA build of torch (3 GB to download), which runs on' \
            "CPUs too: no CPU build of $(pinned torch) was found at $CPU_INDEX"
    fi
}

install() {
    say "installing into $VENV ($("$BASE" -V))"
    if ! pip --version &>/dev/null; then
        rm -rf "$VENV"/{bin,lib,lib64,pyvenv.cfg} # what was half made
        "$BASE" -m venv "$VENV"
    fi
    pip install -q ${INDEX[@]+"${INDEX[@]}"} "torch==$(pinned torch)" \
        "torchvision==$(pinned torchvision)"
    pip install -q -r "$ROOT/requirements.txt"
    pip uninstall -q -y mmcv mmcv-full 2>/dev/null # one of them only
    echo "$ROOT" >"$(echo "$VENV"/lib/python3.*/site-packages)/mbos.pth"
    local full=()
    [[ $MMCV == mmcv ]] || full=(--full)
    "$VENV/bin/python" -m mbos.install_mmcv ${full[@]+"${full[@]}"}
    printf '#!/bin/sh\nexec "%s" -m mbos "$@"\n' "$VENV/bin/python" \
        >"$VENV/bin/mbos"
    chmod +x "$VENV/bin/mbos"
    "$VENV/bin/mbos" info
}

case ${1:-} in
'' | --check) ;;
-h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0" && exit ;;
*) echo 'usage: bash tools/setup_env.sh [--check]' >&2 && exit 2 ;;
esac
[[ ${MBOS_SETUP:-1} != 0 ]] || exit 0
if in_place; then say "all in place: $VENV" && exit; fi
find_python
choose_torch
[[ $MMCV == mmcv ]] || type -P "${CXX:-c++}" >/dev/null ||
    die 'MBOS_MMCV=full needs a C++17 compiler; c++ is not on PATH.'
if [[ ${1:-} ]]; then say "nothing is missing; to be made: $VENV" && exit; fi
mkdir -p "$VENV" || die "set MBOS_VENV to a folder that can be written."
exec 9>"$VENV/.lock"
if type -P flock >/dev/null; then flock 9; fi # another set-up is at work
if in_place; then say "all in place: $VENV" && exit; fi
rm -f "$VENV/.mbos_stamp"
trap 'echo "[setup] stopped, see above; without a network, set https_proxy or" \
    "PIP_INDEX_URL. Run this again to go on." >&2' EXIT
install
stamp >"$VENV/.mbos_stamp"
trap - EXIT
say "done: $VENV"
