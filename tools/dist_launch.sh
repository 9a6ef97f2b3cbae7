#!/usr/bin/env bash
# What the launchers share; they source this file, nobody runs it.
#
# Environment variables:
#   PYTHON       interpreter (default: .venv of the checkout, else python)
#   PORT         port of the first process (default: a free one on a single
#                machine, 29500 on several)
#   NNODES       number of machines                                (default: 1)
#   NODE_RANK    number of this machine, from 0     (needed on several machines)
#   MASTER_ADDR  address of machine 0               (needed on several machines)
#   OMP_NUM_THREADS  threads per process (default: the cores shared out on CPU,
#                1 with CUDA, where workers load the data)

MBOS_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

# Prints the message and ends with 2, the exit status of wrong usage.
launch_error() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

# Prints the comment at the top of the launcher and ends. Arguments: 0 when it
# was asked for, 2 when the launcher was called wrongly.
launch_usage() {
    local text
    text=$(sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0")
    (($1 == 0)) && echo "$text" || echo "$text" >&2
    exit "$1"
}

# Prints usage when help is asked for or arguments are missing. Arguments: the
# number of arguments needed, then those given.
require_arguments() {
    local needed=$1 argument
    shift
    for argument in "${@:1:needed}"; do
        case $argument in
        -h | --help) launch_usage 0 ;;
        esac
    done
    (($# >= needed)) || launch_usage 2
}

# Sets CONFIG: the path as given from the working directory, or else from the
# checkout, so that configs/... works from any folder.
find_config() {
    if [[ -f $1 ]]; then
        CONFIG=$1
    elif [[ $1 != /* && -f $MBOS_ROOT/$1 ]]; then
        CONFIG=$MBOS_ROOT/$1
    else
        local places=$PWD
        [[ $PWD -ef $MBOS_ROOT ]] || places+=" and $MBOS_ROOT"
        launch_error "config not found: $1 (looked in $places)"
    fi
}

# Sets CHECKPOINT, a file.
find_checkpoint() {
    CHECKPOINT=$1
    # a name without dot and slash may be one of mbos.zoo
    [[ -f $1 || $1 != *[./]* ]] ||
        launch_error "checkpoint not found: $1 (looked in $PWD)"
}

require_count() {
    [[ $2 =~ ^[1-9][0-9]*$ ]] ||
        launch_error "$1 must be a whole number from 1 up, got: $2"
}

# Sets PYTHON and PYTHONPATH.
find_python() {
    if [[ -z ${PYTHON:-} ]]; then
        PYTHON=${MBOS_VENV:-$MBOS_ROOT/.venv}/bin/python
        [[ -x $PYTHON ]] || PYTHON=$(type -P python || type -P python3) ||
            launch_error "no Python found: run tools/setup_env.sh"
    fi
    type -P "$PYTHON" >/dev/null ||
        launch_error "no such interpreter: PYTHON=$PYTHON"
    export PYTHONPATH=$MBOS_ROOT${PYTHONPATH:+:$PYTHONPATH}
}

# Prints the number of CUDA devices that the processes will see.
count_gpus() {
    local gpus device devices count=0
    gpus=$({ nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU ' || true)
    if ((gpus == 0)) || [[ -z ${CUDA_VISIBLE_DEVICES+set} ]]; then
        echo "$gpus"
        return
    fi
    IFS=', ' read -ra devices <<<"$CUDA_VISIBLE_DEVICES"
    for device in "${devices[@]}"; do
        # As CUDA reads the list: it ends at the first number that is no device.
        [[ $device != -1 ]] || break
        count=$((count + 1))
    done
    echo "$count"
}

# Checks the number of processes on this machine and shares out its cores.
prepare_processes() {
    local processes=$1 gpus threads=1
    gpus=$(count_gpus)
    if ((gpus > 0 && processes > gpus)); then
        launch_error "$processes processes asked for, but this machine shows" \
            "$gpus GPU(s). Ask for at most $gpus, or set" \
            "CUDA_VISIBLE_DEVICES= (empty) to run on the CPU."
    fi
    if ((gpus == 0)); then
        threads=$(($(nproc) / processes))
        ((threads > 0)) || threads=1
        # Waiting threads that spin take the cores from whatever else runs on
        # the machine; ones that sleep at once are slow when nothing does.
        # Seconds an iteration, idle and busy: spinning 0.32 and 4.4, sleeping
        # 0.48 and 0.75, this 0.27 and 0.57.
        export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-2000}
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}
    export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}
}

# Sets RENDEZVOUS, the arguments by which torchrun's processes find each other.
choose_rendezvous() {
    local nodes=${NNODES:-1}
    require_count NNODES "$nodes"
    [[ -z ${PORT:-} ]] || require_count PORT "$PORT"
    if ((nodes == 1)) && [[ -z ${PORT:-} ]]; then
        # torchrun binds a free port itself, so two runs started at the same
        # moment cannot choose the same one.
        RENDEZVOUS=(--standalone --local-addr=127.0.0.1)
        return
    fi
    if ((nodes > 1)); then
        [[ -n ${MASTER_ADDR:-} ]] || launch_error "NNODES=$nodes needs" \
            "MASTER_ADDR, the address of machine 0"
        [[ ${NODE_RANK:-} =~ ^[0-9]+$ ]] && ((NODE_RANK < nodes)) ||
            launch_error "NNODES=$nodes needs NODE_RANK, the number of this" \
                "machine from 0 to $((nodes - 1)), got: ${NODE_RANK:-nothing}"
    fi
    RENDEZVOUS=(--nnodes="$nodes" --node-rank="${NODE_RANK:-0}"
        --master-addr="${MASTER_ADDR:-127.0.0.1}"
        --master-port="${PORT:-29500}")
}

# Replaces the shell by torchrun, in a wrapper that passes signals on to the
# processes and keeps their exit status. Arguments: number of processes on this
# machine, the tool, its arguments.
launch() {
    local processes=$1 tool=$2
    shift 2
    require_count GPUS "$processes"
    find_python
    choose_rendezvous
    prepare_processes "$processes"
    exec "$PYTHON" "$MBOS_ROOT/tools/launch.py" "${RENDEZVOUS[@]}" \
        --nproc-per-node="$processes" "$MBOS_ROOT/tools/$tool" "$@"
}

# Replaces the shell by srun. Arguments: partition, job name, the tool, its
# arguments.
launch_slurm() {
    local partition=$1 job=$2 tool=$3 gpus=${GPUS:-4} per_node
    shift 3
    require_count GPUS "$gpus"
    per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
    require_count GPUS_PER_NODE "$per_node"
    require_count CPUS_PER_TASK "${CPUS_PER_TASK:-5}"
    type -P srun >/dev/null || launch_error "srun not found: this launcher" \
        "needs Slurm; without it use the dist_*.sh launchers"
    find_python
    [[ -z ${PORT:-} ]] || export MASTER_PORT=$PORT
    # shellcheck disable=SC2086  # SRUN_ARGS is a list of arguments
    exec srun --partition="$partition" --job-name="$job" \
        --gres="gpu:$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} "$PYTHON" -u "$MBOS_ROOT/tools/$tool" "$@"
}
