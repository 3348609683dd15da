# The steps themselves are in .ci/run, so that CI needs no `just`.

# List the recipes.
default:
    @just --list --unsorted

# Everything that must hold before a change lands; what CI runs.
ci:
    bash .ci/run

# Nothing unfinished, no test or example switched off.
guard:
    bash .ci/run guard

# No dependency between packages, or of the client, that is not wanted.
arrows:
    bash .ci/run arrows

# The code is formatted (`cargo fmt` does it).
fmt:
    bash .ci/run fmt

# Lints, with every feature, and of the libraries with none; warnings denied.
clippy:
    bash .ci/run clippy

# All tests: cargo test --all-features.
test:
    bash .ci/run test

# The loom tests: every order of the threads.
loom:
    bash .ci/run loom

# Documentation, warnings denied.
doc:
    bash .ci/run doc

# Every feature of every package alone, and none.
features:
    bash .ci/run features

# Run every example; each asserts what it prints.
examples:
    bash .ci/run examples

# Compile the benchmarks.
benches:
    bash .ci/run benches

# Run the benchmarks and write benches/RESULTS.md, its plots and the table of README.md. `just bench-report --quick` is a smoke run,
# which writes below target/.
bench-report *ARGS:
    cargo bench --bench report -- {{ARGS}}

# Peers that hold connections or memory of a daemon, 5,000 of each kind, and the latency of an honest client beside them. 5 minutes.
peers *ARGS:
    cargo bench -p foreman-daemon --bench peers -- {{ARGS}}

# `foreman serve` under load while its backend, a webhook receiver, the reader of its log, its store and its disk fail in turn, and while
# it is restarted and killed: every accepted job must end once, with its result. 4 minutes; `just bad-hour --quick` takes 30 s.
bad-hour *ARGS:
    cargo bench -p foreman --bench bad_hour -- {{ARGS}}

# Build with the lowest versions that the manifests allow.
minimal:
    bash .ci/run minimal

# Licenses and sources of all dependencies.
licenses:
    bash .ci/run licenses

# A real model end to end: llama.cpp's server, foreman before it, `foreman submit` and Ollama's Python client as its users. Installs
# what it needs (some 650 MB, below target/ and ~/.cache). Not in `ci`.
real-model:
    bash cli/scripts/real-model.sh

# Those, and banned versions, by cargo-deny. Not in `ci`: it takes minutes to build.
deny:
    bash .ci/run deny
