#!/usr/bin/env bash
# Three Ray nodes on this machine, for trying a cluster out: a head with the dashboard, and two worker nodes.
#   cluster/local.sh up      starts them, on 127.0.0.1 alone, and says how to reach them
#   cluster/local.sh status  what runs, and what the cluster has
#   cluster/local.sh kill N  kill -9 of worker node N (1 or 2), as a spot node goes
#   cluster/local.sh join N  starts worker node N again
#   cluster/local.sh down    stops these nodes, and no other Ray of this machine
# CPUS (of each node, 1), PORT (26379), DASHBOARD (28265), METRICS (28080), AGENT (28365) and FOLDER
# (/tmp/wealtharena-cluster) may be set.
set -euo pipefail

CPUS=${CPUS:-1} PORT=${PORT:-26379} DASHBOARD=${DASHBOARD:-28265} METRICS=${METRICS:-28080} AGENT=${AGENT:-28365}
FOLDER=${FOLDER:-/tmp/wealtharena-cluster}
# What `make install` made comes first: a job's `python` is that of the head.
PATH=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
# A stopped job gets the time to write a last checkpoint.
export RAY_JOB_STOP_SIGNAL=SIGINT RAY_JOB_STOP_WAIT_TIME_S=60
# Several nodes with one address, without which a Ray takes the machine's other addresses too.
COMMON=(--block --node-ip-address 127.0.0.1 --num-cpus "$CPUS" --disable-usage-stats)

start() { # name, arguments of ray start; a session of its own, so that the whole node can be killed
    local name=$1 && shift
    if alive "$name"; then echo "local.sh: $name runs already; cluster/local.sh down stops it" >&2 && exit 1; fi
    mkdir -p "$FOLDER"
    setsid ray start "${COMMON[@]}" --temp-dir "$FOLDER/$name" "$@" >"$FOLDER/$name.log" 2>&1 </dev/null &
    echo $! >"$FOLDER/$name.pid"
}

alive() { [ -e "$FOLDER/$1.pid" ] && kill -0 "$(cat "$FOLDER/$1.pid")" 2>/dev/null; }

# Nodes on one machine need ports of their own for the agent too: without its agent a head takes no jobs.
worker() {
    start "worker$1" --address "127.0.0.1:$PORT" --metrics-export-port $((METRICS + $1)) \
        --dashboard-agent-listen-port $((AGENT + $1))
}

wait_for() {
    for _ in $(seq 120); do
        if grep -q "Ray runtime started" "$FOLDER/$1.log" 2>/dev/null; then return; fi
        alive "$1" || break
        sleep 0.5
    done
    echo "local.sh: $1 did not start; $FOLDER/$1.log ends with:" >&2
    tail -n 5 "$FOLDER/$1.log" >&2
    exit 1
}

number() { # refuses what is no worker node
    case ${1:-} in 1 | 2) ;; *) echo "local.sh: got '${1:-}', give a worker node: 1 or 2" >&2 && exit 2 ;; esac
}

up() {
    if [ "$RAY_AUTH_MODE" = token ]; then ray get-auth-token --generate >/dev/null; fi
    start head --head --port "$PORT" --dashboard-host 127.0.0.1 --dashboard-port "$DASHBOARD" \
        --metrics-export-port "$METRICS" --dashboard-agent-listen-port "$AGENT"
    wait_for head
    worker 1
    worker 2
    wait_for worker1
    wait_for worker2
    cat <<EOF
A head and two worker nodes of $CPUS CPU each, on 127.0.0.1; logs in $FOLDER.
  export RAY_AUTH_MODE=$RAY_AUTH_MODE RAY_API_SERVER_ADDRESS=http://127.0.0.1:$DASHBOARD
  ray job submit --working-dir . -- python -m wealtharena train tune_configs/quickstart.yaml \\
    --set sampling.runners=2 --out $FOLDER/runs/first
Dashboard: http://127.0.0.1:$DASHBOARD
EOF
}

down() {
    for name in worker1 worker2 head; do
        if alive "$name"; then kill -TERM "$(cat "$FOLDER/$name.pid")"; fi
    done
    for name in worker1 worker2 head; do
        for _ in $(seq 40); do alive "$name" || break; sleep 0.5; done
        if alive "$name"; then kill -KILL -- "-$(cat "$FOLDER/$name.pid")" 2>/dev/null || true; fi
        rm -f "$FOLDER/$name.pid"
    done
}

status() {
    for name in head worker1 worker2; do
        if alive "$name"; then echo "$name: runs"; else echo "$name: does not run"; fi
    done
    if alive head; then ray status --address "127.0.0.1:$PORT"; fi
}

case ${1:-} in
    up) up ;;
    down) down ;;
    status) status ;;
    kill) number "${2:-}" && kill -KILL -- "-$(cat "$FOLDER/worker$2.pid")" && rm "$FOLDER/worker$2.pid" ;;
    join) number "${2:-}" && worker "$2" && wait_for "worker$2" ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
