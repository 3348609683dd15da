#!/usr/bin/env python3
"""Tests a foreman daemon with the official `ollama` package: lists models, embeds texts and checks the responses.

    pip install ollama
    cli/scripts/ollama-client.py http://127.0.0.1:PORT [MODEL]

Embeds with MODEL (default: the first model listed). Exits with status 1 and a message if a check fails.
"""

import argparse

import ollama


def check(condition: bool, message: str) -> None:
    if not condition:
        raise SystemExit(f"unexpected response: {message}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the daemon's URL")
    parser.add_argument("model", nargs="?", help="the model for embeddings")
    args = parser.parse_args()
    client = ollama.Client(host=args.url)

    models = client.list().models
    check(bool(models), "no models")
    check(all(model.model for model in models), f"model without a name: {models}")
    print("models:", ", ".join(model.model for model in models))

    model = args.model or models[0].model
    texts = ["a text", "another", "a text"]
    several = client.embed(model=model, input=texts).embeddings
    check(len(several) == len(texts), f"{len(several)} embeddings for {len(texts)} texts")
    widths = {len(vector) for vector in several}
    check(len(widths) == 1 and widths != {0}, f"vectors of different lengths: {widths}")
    one = client.embed(model=model, input=texts[0]).embeddings
    check(len(one) == 1 and {len(one[0])} == widths, "the response for one text has a different shape")
    print(f"embeddings: {len(several)} vectors of {widths.pop()} numbers")
    print("ok")


if __name__ == "__main__":
    main()
