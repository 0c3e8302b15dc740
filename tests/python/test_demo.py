"""`make demo` on a folder of somebody's own: audio of several formats, with no segments beside it, and some that is none."""

import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "crates/speaker_core/tests/data"

# Copies of recordings, each under a name that somebody may give a file.
RECORDINGS = {
    "1 the meeting.flac": ROOT / "fixtures/meeting.flac",
    "2 o'neil & sons (50%).wav": SAMPLES / "speech.wav",
    "3 日本語.mp3": SAMPLES / "speech.mp3",
    "4 \"quoted\" \\back :name.m4a": SAMPLES / "speech_stereo.m4a",
    "-5.ogg": SAMPLES / "speech.ogg",
    "6.opus": SAMPLES / "speech.opus",
    # Upper case, and a name that is there in another format, too.
    "6.AIFF": SAMPLES / "speech.aiff",
    "7.webm": SAMPLES / "speech_live.webm",
    "9 interview.flac": ROOT / "fixtures/interview.flac",
}
BROKEN = "cut off.flac", "empty.wav", "letter.mp3", "no sound.mp4", "zz last.mp3"


@pytest.fixture
def folder(tmp_path):
    for name, source in RECORDINGS.items():
        shutil.copy(source, tmp_path / name)
    with wave.open(str(tmp_path / "8 silence.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 16_000 * 9))
    (tmp_path / "cut off.flac").write_bytes((ROOT / "fixtures/enrol/awb.flac").read_bytes()[:30])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "letter.mp3").write_text("Dear reader, this is no audio. " * 100)
    shutil.copy(SAMPLES / "silent_film.mp4", tmp_path / "no sound.mp4")
    (tmp_path / "zz last.mp3").write_bytes(bytes(5000))
    (tmp_path / "notes.txt").write_text("not a recording")
    (tmp_path / "a folder.wav").mkdir()
    return tmp_path


def demo(database, programs, folder):
    return subprocess.run([sys.executable, ROOT / "tools/demo.py", database.as_owner, programs / "psql", folder],
                          capture_output=True, text=True)


def steps(output):
    """The text of each step, by its title."""
    return dict(step.split("\n", 1) for step in output.split("\n-- ")[1:])


def test_plain_audio_of_several_formats(empty_database, programs, folder):
    done = demo(empty_database, programs, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    told = steps(done.stdout)

    left_out = {title.removesuffix(" is left out"): text for title, text in told.items() if title.endswith(" is left out")}
    assert set(left_out) == set(BROKEN) and all("ERROR: " in text for text in left_out.values())
    taken = {title.split(" goes in, ")[0] for title in told if " goes in, " in title}
    assert taken == {*RECORDINGS, "8 silence.wav"}
    # "Ann" is whoever speaks in the first file, alone; the meeting's voices are found by their groups.
    assert " Ann " in told["who spoke when in -5.ogg"]
    speakers = set(re.findall(r"\| (\w+) +\|", told["who spoke when in 1 the meeting.flac"]))
    assert len(speakers) >= 4 and speakers <= set(re.findall(r"^ (\w+) +\|", told["everyone who is known"], re.M))
    assert "rejected" in next(text for title, text in told.items() if title.startswith("8 silence.wav goes in"))


def test_a_folder_with_one_short_file(empty_database, programs, tmp_path):
    shutil.copy(SAMPLES / "speech.wav", tmp_path / "voice.wav")
    done = demo(empty_database, programs, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"0\.0 +\| 1\.5 +\| Ann ", steps(done.stdout)["who spoke when in voice.wav"])


def test_segments_that_cannot_be_read_are_told_and_the_rest_goes_on(empty_database, programs, tmp_path):
    for name in ("a", "b"):
        shutil.copy(SAMPLES / "speech.wav", tmp_path / f"{name}.wav")
    (tmp_path / "a.pyannote.json").write_text("{")
    done = demo(empty_database, programs, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a.wav is left out" in steps(done.stdout) and "who spoke when in b.wav" in steps(done.stdout)


@pytest.mark.parametrize("content", ["", "letter.mp3"])
def test_a_folder_without_audio_is_an_error(empty_database, programs, tmp_path, content):
    if content:
        (tmp_path / content).write_text("Dear reader")
    done = demo(empty_database, programs, tmp_path)
    assert done.returncode == 1 and "there is no audio in" in done.stderr
