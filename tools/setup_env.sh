#!/usr/bin/env bash
# Makes or updates the Python environment of this checkout: .venv, with torch,
# mmcv-full (compiled, about 11 minutes on 2 cores, once per machine), what
# requirements.txt lists, and the checkout itself. Does nothing when all of it
# is in place. Run it again after every pull; it can be stopped and restarted.
#
#   bash tools/setup_env.sh           make or update the environment
#   bash tools/setup_env.sh --check   only say what is there and what is missing
#
# Environment variables:
#   PYTHON            Python to make the environment with (3.11; 3.12 works)
#   MBOS_VENV         where the environment is           (default: .venv)
#   MBOS_TORCH_INDEX  package index to take torch from, for instance
#                     https://download.pytorch.org/whl/cu126
#   MBOS_CACHE        where the compiled mmcv-full is kept
#                     (default: ${XDG_CACHE_HOME:-~/.cache}/mbos)
#   MBOS_SETUP=0      leave the set-up out and use the Python at hand
#   MAX_JOBS          compiler processes (default: by cores and memory)
set -euo pipefail

TORCH=2.12.1
TORCHVISION=0.27.1
MMCV=1.7.2
CPU_INDEX=https://download.pytorch.org/whl/cpu

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
VENV=${MBOS_VENV:-$ROOT/.venv}
[[ $VENV == /* ]] || VENV=$PWD/$VENV
CACHE=${MBOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mbos}
STAMP=$VENV/.mbos_stamp
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# What another environment put here would look installed, but not be ours.
unset PYTHONPATH PYTHONHOME

say() { echo "[setup] $*"; }
warn() { echo "[setup] warning: $*" >&2; }

# --- what is there ---------------------------------------------------------

# Version of an installed distribution, read off its folder's name because
# starting Python for it would take longer than all the rest.
installed() {
    local folder
    for folder in "$VENV"/lib/python3.*/site-packages/"$1"-*.dist-info; do
        [[ -d $folder ]] || continue
        folder=${folder##*/"$1"-}
        echo "${folder%.dist-info}"
        return 0
    done
}

# Everything that the environment depends on; equal text, nothing to do.
stamp_text() {
    echo "checkout $ROOT"
    echo "environment $VENV"
    "$VENV/bin/python" -V 2>&1
    echo "torch $(installed torch) mmcv-full $(installed mmcv_full)"
    sha256sum <"$ROOT/requirements.txt"
    sha256sum <"$ROOT/tools/setup_env.sh"
}

in_place() {
    [[ -x $VENV/bin/python && -f $STAMP ]] || return 1
    [[ $(stamp_text 2>/dev/null) == "$(cat "$STAMP")" ]]
}

# Prints "VERSION INCLUDE_FOLDER PROBLEMS...", problems out of novenv,
# noheaders.
probe_python() {
    "$1" -c 'import importlib.util as u, os, sys, sysconfig  # probe
include = sysconfig.get_paths()["include"]
print("%d.%d" % sys.version_info[:2], include,
      "" if u.find_spec("venv") and u.find_spec("ensurepip") else "novenv",
      "" if os.path.exists(os.path.join(include, "Python.h"))
      else "noheaders")' 2>/dev/null
}

# Sets BASE (a Python that fits), BASE_VERSION and BASE_PROBLEMS. One that
# lacks nothing is preferred to one that lacks something.
find_python() {
    BASE= BASE_VERSION= BASE_PROBLEMS= PYTHONS_SEEN=
    local candidates=() python version include problems
    if [[ -x $VENV/bin/python ]] && "$VENV/bin/python" -V &>/dev/null; then
        candidates=("$VENV/bin/python")
    elif [[ -n ${PYTHON:-} ]]; then
        candidates=("$PYTHON")
    else
        mapfile -t candidates < <(
            type -aP python3.11 python3.12 python3 python
            compgen -G "$HOME/.pyenv/versions/3.1[12].*/bin/python" || true)
    fi
    for python in "${candidates[@]}"; do
        read -r version include problems \
            < <(probe_python "$python" || true) || continue
        PYTHONS_SEEN+=" $python ($version)"
        [[ $version == 3.11 || $version == 3.12 ]] || continue
        [[ -z $BASE || -z $problems ]] || continue
        BASE=$(type -P "$python") BASE_VERSION=$version
        BASE_PROBLEMS=$problems
        [[ -n $problems ]] || return 0
    done
}

# --- what is missing, said before anything is changed ----------------------

# Sets TORCH_SOURCE to cpu, pypi or the address of an index.
choose_torch() {
    TORCH_SOURCE=pypi
    if [[ -n ${MBOS_TORCH_INDEX:-} ]]; then
        TORCH_SOURCE=$MBOS_TORCH_INDEX
    elif nvidia-smi -L &>/dev/null; then
        local driver
        driver=$(nvidia-smi | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
        if [[ -n $driver && $driver -lt 13 ]]; then
            warn "the NVIDIA driver supports CUDA $driver, but torch $TORCH" \
                "from PyPI is built for CUDA 13 and would run on the CPU" \
                "only. Update the driver, or set for instance" \
                "MBOS_TORCH_INDEX=https://download.pytorch.org/whl/cu126."
        fi
    elif timeout 6 "$BASE" -c "import urllib.request as r  # reach
r.urlopen('$CPU_INDEX/torch/', timeout=5)" &>/dev/null; then
        TORCH_SOURCE=$CPU_INDEX
    fi
}

# An environment that this script made follows the version above; of one made
# by hand, requirements.txt decides.
needs_torch() {
    local torch
    torch=$(installed torch)
    [[ -n $torch && -n $(installed torchvision) ]] || return 0
    [[ -f $VENV/.mbos_mmcv_torch && ${torch%%+*} != "$TORCH" ]]
}

# Folder of the compiled mmcv-full: it fits one Python and one torch only.
wheel_folder() {
    echo "$CACHE/wheels/cp${BASE_VERSION/./}-$1"
}

cached_wheel() {
    compgen -G "$(wheel_folder "$1")/mmcv_full-$MMCV-*.whl" | head -1
}

# First existing folder at or above a path.
existing() {
    local folder=$1
    until [[ -d $folder ]]; do folder=$(dirname "$folder"); done
    echo "$folder"
}

check_disk() {
    local needed=$1 folder free
    folder=$(existing "$VENV")
    free=$(df -Pk "$folder" | awk 'NR == 2 {print $4}')
    if ((free < needed * 1024 * 1024)); then
        PROBLEMS+=("disk: $folder has $((free / 1024 / 1024)) GB free, about
    $needed GB are needed. Free some, or set MBOS_VENV to a folder on
    another disk.")
    fi
}

check_compiler() {
    if ! type -P "${CXX:-c++}" >/dev/null && ! type -P g++ >/dev/null; then
        PROBLEMS+=("C++ compiler: none found (c++, g++), and mmcv-full has to
    be compiled. On Debian or Ubuntu: apt-get install build-essential")
    fi
    if [[ $BASE_PROBLEMS == *noheaders* ]]; then
        PROBLEMS+=("Python headers: Python.h of $BASE not found, and
    mmcv-full has to be compiled. On Debian or Ubuntu:
    apt-get install python$BASE_VERSION-dev")
    fi
}

# Fills PROBLEMS; sets BASE and, where torch is to be installed, TORCH_SOURCE.
check() {
    PROBLEMS=()
    find_python
    if [[ -z $BASE ]]; then
        PROBLEMS+=("Python 3.11 (3.12 works): not found; looked at:
   ${PYTHONS_SEEN:- ${PYTHON:-nothing}}. Install it and set PYTHON=/path/to/python3.11 if
    it is not on PATH. On Debian or Ubuntu: apt-get install python3.11
    python3.11-venv python3.11-dev; without root: conda or pyenv.
    If $VENV holds another Python, move that folder away.")
        return
    fi
    if [[ $BASE_PROBLEMS == *novenv* && ! -x $VENV/bin/python ]]; then
        PROBLEMS+=("venv: $BASE cannot make environments. On Debian or
    Ubuntu: apt-get install python$BASE_VERSION-venv")
    fi
    local torch
    torch=$(installed torch)
    if needs_torch; then
        choose_torch
        torch=$TORCH
        [[ $TORCH_SOURCE != */whl/cpu ]] || torch+=+cpu
        [[ $TORCH_SOURCE == */whl/cpu ]] && check_disk 2 || check_disk 8
    fi
    if [[ $(installed mmcv_full) != "$MMCV" && -z $(cached_wheel "$torch") ]]
    then
        check_compiler
    fi
}

report_problems() {
    ((${#PROBLEMS[@]})) || return 0
    echo "[setup] Cannot set up the environment. Missing:" >&2
    printf '  - %s\n' "${PROBLEMS[@]}" >&2
    echo "docs/install.md tells more." >&2
    return 1
}

# --- the steps --------------------------------------------------------------

pip() { "$VENV/bin/python" -m pip "$@"; }

make_venv() {
    if [[ ! -x $VENV/bin/python ]] || ! pip --version &>/dev/null; then
        say "making $VENV with $BASE (Python $BASE_VERSION)"
        "$BASE" -m venv "$VENV"
    fi
}

install_torch() {
    needs_torch || return 0
    [[ -n ${TORCH_SOURCE:-} ]] || choose_torch
    local index=()
    case $TORCH_SOURCE in
    pypi) say "installing torch $TORCH from PyPI (CUDA build, about 3 GB)" ;;
    *)
        say "installing torch $TORCH from $TORCH_SOURCE"
        index=(--index-url "$TORCH_SOURCE")
        ;;
    esac
    pip install "${index[@]}" "torch==$TORCH" "torchvision==$TORCHVISION"
}

# Lines of requirements.txt that mmcv's build wants to find installed. OpenCV
# is one: mmcv-full writes the OpenCV package it sees into its own metadata.
install_build_tools() {
    say "installing what mmcv-full is built with"
    grep -E '^(setuptools|numpy|opencv-python|yapf|Pillow)' \
        "$ROOT/requirements.txt" >"$VENV/.mbos_build.txt"
    pip install -q -r "$VENV/.mbos_build.txt" wheel ninja addict pyyaml \
        packaging
    rm -f "$VENV/.mbos_build.txt"
}

# One compiler process wants up to 2 GB.
compile_jobs() {
    local cores memory
    cores=$(nproc)
    memory=$(awk '/MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
    ((memory > 0)) || memory=1
    echo "${MAX_JOBS:-$((cores < memory ? cores : memory))}"
}

# Compiles mmcv-full in a temporary folder and moves the wheel into the cache
# when it is whole. Only one process at a time builds one wheel.
build_mmcv() (
    folder=$(wheel_folder "$1")
    mkdir -p "$folder"
    exec 8>"$folder/.lock"
    if ! flock -n 8; then
        say "waiting: another process is building mmcv-full"
        flock 8
    fi
    [[ -z $(cached_wheel "$1") ]] || exit 0
    rm -rf "$folder"/.build.*
    build=$(mktemp -d "$folder/.build.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    jobs=$(compile_jobs)
    say "compiling mmcv-full $MMCV for torch $1 with $jobs processes (about" \
        "11 minutes on 2 cores; kept in $folder; log: $folder/build.log)"
    # CPU operators only, whatever the machine has: MBOS needs no CUDA one.
    # Without pip's cache, which does not know about torch versions.
    if ! CUDA_VISIBLE_DEVICES='' FORCE_CUDA=0 MMCV_WITH_OPS=1 MAX_JOBS=$jobs \
        pip wheel --no-build-isolation --no-deps --no-cache-dir \
        --no-binary mmcv-full -w "$build" "mmcv-full==$MMCV" 8>&- \
        >"$folder/build.log" 2>&1; then
        tail -25 "$folder/build.log" >&2
        say "mmcv-full did not compile; the whole log: $folder/build.log" >&2
        exit 1
    fi
    mv "$build"/mmcv_full-*.whl "$folder/"
)

install_mmcv() {
    local torch built_for=$VENV/.mbos_mmcv_torch
    torch=$(installed torch)
    # An environment without that note was made by hand: the import at the end
    # tells whether its mmcv-full fits its torch.
    if [[ $(installed mmcv_full) == "$MMCV" ]] &&
        [[ ! -f $built_for || $(cat "$built_for") == "$torch" ]]; then
        return 0
    fi
    install_build_tools
    if [[ -z $(cached_wheel "$torch") ]]; then
        build_mmcv "$torch"
    fi
    say "installing $(cached_wheel "$torch")"
    pip install -q --no-deps --force-reinstall "$(cached_wheel "$torch")"
    echo "$torch" >"$built_for"
}

install_rest() {
    say "installing what requirements.txt lists"
    pip install -r "$ROOT/requirements.txt" | sed '/already satisfied/d'
    local site
    site=$(dirname "$(compgen -G \
        "$VENV/lib/python3.*/site-packages/mmcv_full-*.dist-info" | head -1)")
    say "putting the checkout on the environment's path"
    echo "$ROOT" >"$site/mbos.pth.tmp"
    mv "$site/mbos.pth.tmp" "$site/mbos.pth"
}

verify() {
    say "checking that everything imports"
    if ! "$VENV/bin/python" - <<'PYTHON'; then
import cv2
import mmcv
import mmcv.ops
import mmseg
import mmseg.models
import timm
import torch
import torchvision
place = (torch.cuda.get_device_name() if torch.cuda.is_available() else
         'no CUDA device: runs on the CPU')
print(f'[setup] torch {torch.__version__} ({place}), torchvision '
      f'{torchvision.__version__}, mmcv-full {mmcv.__version__}, mmseg '
      f'{mmseg.__version__}, timm {timm.__version__}, OpenCV '
      f'{cv2.__version__}')
PYTHON
        say "the environment does not import: see above. Remove $VENV (and" \
            "$(wheel_folder "$(installed torch)") if mmcv is to blame) and" \
            "run this again." >&2
        return 1
    fi
}

main() {
    case ${1:-} in
    '' | --check) ;;
    -h | --help)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        return 0
        ;;
    *)
        echo "usage: bash tools/setup_env.sh [--check]" >&2
        return 2
        ;;
    esac
    [[ ${MBOS_SETUP:-1} != 0 ]] || return 0
    if in_place; then
        say "all in place: $VENV"
        return 0
    fi
    check
    report_problems || return 1
    if [[ ${1:-} == --check ]]; then
        say "nothing is missing; not set up yet: $VENV (Python" \
            "$BASE_VERSION, torch $(installed torch), mmcv-full" \
            "$(installed mmcv_full))"
        return 0
    fi
    mkdir -p "$VENV"
    exec 9>"$VENV/.mbos_lock"
    if ! flock -n 9; then
        say "waiting: another process is setting up $VENV"
        flock 9
        ! in_place || { say "all in place: $VENV"; return 0; }
    fi
    make_venv
    install_torch
    install_mmcv
    install_rest
    verify
    stamp_text >"$STAMP.tmp"
    mv "$STAMP.tmp" "$STAMP"
    say "done: $VENV"
}

main "$@"
