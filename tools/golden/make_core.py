#!/usr/bin/env python3
"""Writes crates/speaker_core/tests/golden from the reference implementation and fixtures/. What each file holds, and the
tolerances, are in the README there. Environment: requirements.txt beside this file."""

import csv
import json
from pathlib import Path

import librosa
import numpy as np
from reference import Reference, load

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
OUT = ROOT / "crates/speaker_core/tests/golden"
RATE = 16_000
SEED = 20_261_121

# name, recording, start, end, factor on the samples. One for each branch of the frontend.
CLIPS = [
    ("three_windows", "meeting", 14.486, 17.773, 1.0),
    ("shorter_than_a_window", "meeting", 0.4, 1.6, 1.0),
    ("last_window_dropped", "meeting", 4.511, 8.665, 1.0),
    ("turns_with_pauses", "interview", 0.0, 12.0, 1.0),
    ("raised_to_the_target_level", "interview", 16.802, 20.679, 0.05),
]
# Their mel windows are a file of their own: 25.6 kB a window.
WINDOWS_OF = "three_windows"


def save(name, values):
    """float32, C order, npy version 1.0: the tests' reader knows nothing else."""
    np.save(OUT / name, np.ascontiguousarray(values, np.float32))


def span(recording, start, end):
    samples, rate = load(FIXTURES / f"{recording}.flac")
    assert rate == RATE
    return samples[round(start * RATE) : round(end * RATE)]


def clips(reference):
    facts, embeddings = [], []
    for name, recording, start, end, factor in CLIPS:
        details = reference.details(span(recording, start, end) * np.float32(factor))
        facts.append(
            {
                "name": name,
                "recording": recording,
                "start": start,
                "end": end,
                "factor": factor,
                "kept": "".join("1" if kept else "0" for kept in details.kept),
                "speech_samples": len(details.speech),
                "window_starts": details.starts,
            }
        )
        embeddings.append(details.embedding)
        if name == WINDOWS_OF:
            save("ge2e_windows.npy", details.windows)
    (OUT / "ge2e_clips.json").write_text("[\n" + ",\n".join(map(json.dumps, facts)) + "\n]\n")
    save("ge2e_clips.npy", embeddings)


def turns(reference):
    """One embedding for each row of fixtures/truth.csv, in its order."""
    with (FIXTURES / "truth.csv").open() as file:
        rows = [(row["recording"], float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]
    save("ge2e_turns.npy", [reference.embed(span(*row)) for row in rows])


def mel():
    """A signal with every frequency, a click at the start, noise, and digital silence; 160 frames of it."""
    random = np.random.default_rng(SEED)
    count = 159 * 160
    time = np.arange(count) / RATE
    sweep = 0.3 * np.sin(2 * np.pi * (50 * time + 7_900 / (2 * time[-1]) * time**2))
    signal = sweep + 0.01 * random.standard_normal(count)
    signal[0] = 0.9
    signal[12_000:14_000] = 0.0
    signal = (np.round(signal * 32_768) / 32_768).astype(np.float32)
    save("mel_signal.npy", signal)
    save("mel_filterbank.npy", librosa.filters.mel(sr=RATE, n_fft=400, n_mels=40))
    save(
        "mel_frames.npy",
        librosa.feature.melspectrogram(y=signal, sr=RATE, n_fft=400, hop_length=160, n_mels=40).T,
    )


def main():
    reference = Reference()
    clips(reference)
    turns(reference)
    mel()


if __name__ == "__main__":
    main()
