#!/usr/bin/env python3
"""The official `ollama` package against a daemon of ours: lists the models, embeds, and checks what comes.

    pip install ollama
    cli/scripts/ollama-client.py http://127.0.0.1:PORT [MODEL]

Embeds with MODEL, or with the first one listed. Exits with 1 and says what was wrong if anything was.
"""

import argparse

import ollama


def check(what: bool, why: str) -> None:
    if not what:
        raise SystemExit(f"not as Ollama has it: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="where the daemon is")
    parser.add_argument("model", nargs="?", help="the model to embed with")
    args = parser.parse_args()
    client = ollama.Client(host=args.url)

    models = client.list().models
    check(bool(models), "no model is listed")
    check(all(model.model for model in models), f"a model without a name: {models}")
    print("models:", ", ".join(model.model for model in models))

    model = args.model or models[0].model
    texts = ["a text", "another", "a text"]
    several = client.embed(model=model, input=texts).embeddings
    check(len(several) == len(texts), f"{len(several)} embeddings for {len(texts)} texts")
    widths = {len(vector) for vector in several}
    check(len(widths) == 1 and widths != {0}, f"vectors of the widths {widths}")
    one = client.embed(model=model, input=texts[0]).embeddings
    check(len(one) == 1 and {len(one[0])} == widths, "one text gives another shape than several")
    print(f"embeddings: {len(several)} vectors of {widths.pop()} numbers")
    print("ok")


if __name__ == "__main__":
    main()
