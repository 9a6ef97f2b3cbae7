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

# Prints the comment at the top of the launcher and ends, when help is asked
# for or arguments are missing. Arguments: the number needed, then those given.
require_arguments() {
    local needed=$1 status=0
    shift
    case " ${*:1:needed} " in
    *' --help '* | *' -h '*) ;;
    *)
        (($# < needed)) || return 0
        status=2
        exec >&2
        ;;
    esac
    sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
    exit "$status"
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

# Sets RENDEZVOUS, the arguments by which torchrun's processes find each other.
choose_rendezvous() {
    local nodes=${NNODES:-1}
    require_count NNODES "$nodes"
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
