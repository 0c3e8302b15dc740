#!/bin/sh
# Makes fixtures/: recordings of a meeting and an interview, enrolment clips, and labels in every format that is read.
#
# The speech is synthetic, so nobody's voice is in the repository. fixtures/dialogue.tsv is the script. The results are
# committed; run this only to change them, and then make the golden vectors anew (tools/golden/README.md). Made with
# flite 2.2, espeak-ng 1.51 and SoX 14.4.2 (Debian 12: apt-get install flite espeak-ng sox): the same versions give the
# same samples.
set -eu

here="$(cd "$(dirname "$0")" && pwd)"
out="$here/../fixtures"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
tab="$(printf '\t')"

# Speaks $2 with voice $1 into $work/spoken.wav.
speak() {
    case "$1" in
    f5) espeak-ng -v en-us+f5 -w "$work/spoken.wav" "$2" ;;
    *) flite -voice "$1" -t "$2" -o "$work/spoken.wav" ;;
    esac
}

# Makes $1 from spoken.wav: 16 kHz, mono, silence cut from both ends. The low 4 of 16 bits are zero: FLAC stores 12 then,
# a quarter of the size. No dither, so that a second run gives the same samples.
turn() {
    sox -D "$work/spoken.wav" -r 16000 -c 1 -b 16 "$work/quiet.wav" \
        silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse vol 0.0625
    sox -D "$work/quiet.wav" "$1" vol 16
}

# Pauses between turns, in samples, taken in turn: 0.40 to 0.75 s.
pause_after() {
    echo $((6400 + $1 * 2400 % 8000 * 7 / 10))
}

mkdir -p "$out/enrol"
: >"$work/timeline.tsv"
number=0
recording=""
grep -v '^#' "$out/dialogue.tsv" >"$work/dialogue.tsv"
while IFS="$tab" read -r next voice text; do
    if [ "$next" != "$recording" ]; then
        recording="$next"
        at=0
        mkdir -p "$work/$recording"
    fi
    number=$((number + 1))
    file="$work/$recording/$(printf %02d "$number")"
    speak "$voice" "$text"
    turn "$file-0.wav"
    samples="$(soxi -s "$file-0.wav")"
    pause="$(pause_after "$number")"
    sox -D -r 16000 -n -c 1 -b 16 "$file-1.wav" trim 0 "${pause}s"
    printf '%s\t%d\t%d\t%s\t%s\n' "$recording" "$at" "$((at + samples))" "$voice" "$text" >>"$work/timeline.tsv"
    at=$((at + samples + pause))
done <"$work/dialogue.tsv"

for recording in meeting interview enrol/awb enrol/rms; do
    sox -D "$work/$recording"/*.wav -C 8 "$out/$recording.flac"
done
python3 "$here/golden/label_fixtures.py" "$work/timeline.tsv" "$out"
