#!/bin/sh
# run.sh TARGET [libFuzzer's options]: builds the targets on stable Rust and runs one on its corpus.
# `cargo fuzz run TARGET --sanitizer none` does the same with cargo-fuzz; its default sanitizer needs nightly.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
cd "$here"
./corpus.sh
# LLVM's coverage counters, which libFuzzer goes by; what cargo-fuzz passes.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, build scripts are spared the counters.
cargo build --quiet --release --target "$host" --bin "$target"
mkdir -p "artifacts/$target"
exec "${CARGO_TARGET_DIR:-target}/$host/release/$target" -artifact_prefix="artifacts/$target/" -timeout=10 -rss_limit_mb=1024 \
    "$@" "corpus/$target"
