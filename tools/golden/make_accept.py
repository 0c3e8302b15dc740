#!/usr/bin/env python3
"""Writes tests/accept/golden from the reference implementation and a folder of real speech.

    make_accept.py SPEECH_DIR

SPEECH_DIR holds <reader>/<reader>-<chapter>-<utterance>.flac, 16 kHz. Vectors, times and figures are written, never
audio. What each file holds is in the README there. Environment: requirements.txt beside this file.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from reference import FRAME, Reference, load, load_bytes, load_int16

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/accept/golden"
sys.path.insert(0, str(ROOT / "tests/accept"))
from metrics import cosines, equal_error_rate, ordered_trials, pair_trials, rank_1  # noqa: E402
from phone import telephone  # noqa: E402

RATE = 16_000
CROP = 2 * RATE


def prefix_with_speech(reference, samples, wanted):
    """The shortest prefix, in steps of 30 ms, of which voice activity detection keeps `wanted` samples; None if no
    prefix has them."""
    for end in range(-(-wanted // FRAME) * FRAME, len(samples) + 1, FRAME):
        speech, _ = reference.speech(samples[:end])
        if len(speech) >= wanted:
            return end
    return None


def figures(scores_same, scores_different):
    rate, threshold = equal_error_rate(scores_same, scores_different)
    return {
        "eer_percent": round(100 * rate, 4),
        "threshold": round(threshold, 4),
        "same": len(scores_same),
        "different": len(scores_different),
    }


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[2].strip())
    files = sorted(Path(sys.argv[1]).glob("*/*.flac"), key=lambda path: path.name)
    speakers = np.array([path.parent.name for path in files])
    reference = Reference()

    whole, phone, prefixes, exact, crops = [], [], [], [], []
    for path in files:
        samples, rate = load(path)
        assert rate == RATE, path.name
        speech, _ = reference.speech(samples)
        whole.append(reference.embed_speech(speech))
        phone.append(reference.embed(*load_bytes(telephone(load_int16(path)))))
        end = prefix_with_speech(reference, samples, CROP)
        if end is not None:
            crops.append((path.name, end / RATE))
            prefixes.append(reference.embed(samples[:end]))
            exact.append(reference.embed_speech(speech[:CROP]))

    OUT.mkdir(exist_ok=True)
    np.save(OUT / "librispeech_whole.npy", np.array(whole, np.float32))
    np.save(OUT / "librispeech_crops_2s.npy", np.array(prefixes, np.float32))
    (OUT / "librispeech_whole.txt").write_text("".join(f"{path.name}\n" for path in files))
    with (OUT / "librispeech_crops_2s.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "end"])
        table.writerows((name, f"{end:.2f}") for name, end in crops)

    crop_speakers = [name.split("-")[0] for name, _ in crops]
    scores = cosines(whole, whole)
    result = {
        "eer_full_reference": figures(*pair_trials(scores, speakers)),
        "eer_2s_reference": figures(*pair_trials(cosines(prefixes, prefixes), crop_speakers)),
        "eer_2s_exact_reference": figures(*pair_trials(cosines(exact, exact), crop_speakers)),
        "eer_phone_reference": figures(*ordered_trials(cosines(whole, phone), speakers)),
        "rank1_reference": rank_1(scores, speakers),
    }
    (OUT / "reference.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
