#!/usr/bin/env python3
"""Writes the labels of fixtures/ from a timeline: what a diarizer and a transcriber would have said of the recordings.

    label_fixtures.py TIMELINE_TSV FIXTURES

A line of the timeline is: recording, first sample, last sample + 1, voice, text. Written are, for each recording with
more than one turn, NAME.rttm, NAME.pyannote.json and NAME.whisper.json, and for all of them truth.csv.
The labels are perfect, unlike those of real tools: what is tested with them is reading, not diarization. Standard
library only.
"""

import csv
import json
import sys
from pathlib import Path

RATE = 16000


def read_timeline(path):
    """Recording -> its turns as (start, end, voice, text), times in seconds."""
    recordings = {}
    for line in path.read_text().splitlines():
        recording, first, stop, voice, text = line.split("\t")
        turns = recordings.setdefault(recording, [])
        turns.append((round(int(first) / RATE, 3), round(int(stop) / RATE, 3), voice, text))
    return recordings


def diarize(turns):
    """Turns under the names a diarizer gives: SPEAKER_00 for whoever speaks first, and so on."""
    order = list(dict.fromkeys(voice for _, _, voice, _ in turns))
    return [(start, end, f"SPEAKER_{order.index(voice):02}") for start, end, voice, _ in turns]


def rttm(recording, turns):
    """NIST's Rich Transcription Time Marked: type, file, channel, onset, duration, two blanks, name, two blanks."""
    return "".join(
        f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for start, end, speaker in diarize(turns)
    )


def pyannote(turns):
    return [{"start": start, "end": end, "speaker": speaker} for start, end, speaker in diarize(turns)]


def whisper(turns):
    """The shape of OpenAI's verbose_json. Whisper's times have steps of 0.02 s; the confidences are invented."""

    def segment(index, start, end, text):
        return {
            "id": index,
            "seek": 0,
            "start": round(round(start * 50) / 50, 2),
            "end": round(round(end * 50) / 50, 2),
            "text": f" {text}",
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": round(-0.18 - 0.01 * (index * 7 % 11), 2),
            "compression_ratio": 1.4,
            "no_speech_prob": round(0.01 + 0.003 * (index * 5 % 7), 3),
        }

    return {
        "task": "transcribe",
        "language": "english",
        "duration": turns[-1][1],
        "text": " ".join(text for *_, text in turns),
        "segments": [segment(index, start, end, text) for index, (start, end, _, text) in enumerate(turns)],
    }


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[2].strip())
    recordings, out = read_timeline(Path(sys.argv[1])), Path(sys.argv[2])
    for recording, turns in recordings.items():
        if len(turns) == 1:
            continue
        (out / f"{recording}.rttm").write_text(rttm(recording, turns))
        (out / f"{recording}.pyannote.json").write_text(json.dumps(pyannote(turns), indent=1) + "\n")
        (out / f"{recording}.whisper.json").write_text(json.dumps(whisper(turns), indent=1) + "\n")
    with (out / "truth.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["recording", "start", "end", "voice"])
        for recording, turns in recordings.items():
            table.writerows((recording, start, end, voice) for start, end, voice, _ in turns)


if __name__ == "__main__":
    main()
