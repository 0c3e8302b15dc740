#!/bin/sh
# Makes corpus/TARGET of the committed samples. What a fuzzer has added to it stays.
set -eu
cd "$(dirname "$0")"
data=../tests/data fixtures=../../../fixtures
seed() {
    mkdir -p "corpus/$1"
    to=$1
    shift
    cp "$@" "corpus/$to"
}
seed wav $data/*.wav
seed aiff $data/*.aiff
seed au $data/*.au
seed caf $data/*.caf
seed w64 $data/*.w64
seed flac $data/*.flac
seed mpeg $data/*.mp3
seed adts $data/*.aac
seed mp4 $data/*.mp4 $data/*.m4a $data/*.mov
seed matroska $data/*.webm $data/*.mkv
seed ogg_vorbis $data/*.ogg
seed ogg_opus $data/*.opus
seed segments_json $fixtures/*.json
seed segments_rttm $fixtures/*.rttm
