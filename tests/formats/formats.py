"""Every format that people have, through SQL: formats.py CONNINFO PSQL FFMPEG WORK FUZZ [SPEECH_DIR]

ffmpeg makes each format of the same clips of speech; the server's audio_info and extract_speaker_embedding are held
against the clip as WAV. A telephone keeps 8 kHz, so what is made of 8 kHz is compared with a WAV file of 8 kHz: the loss
of the band is the telephone's, not the decoder's. Eight bits of linear PCM and four of ADPCM are coarse: on a soft clip
their noise is most of what there is, in any decoder. They are told against the clip, too, but only held against what
ffmpeg decodes of the same file, as is every other format. SPEECH_DIR has a folder for each speaker; the first file of the first
four adds a clip.

What ffmpeg does not write and recorders do is made by writers.py. Formats that are known and not read must be refused by
name, never as damage. FUZZ is the fuzz program: it compares all who read a file, over the samples of the repository, what
was made here of the first clip, and 10,000 damaged ones.

Then three hours of MP3 in a recording, a backfill of 2,000 segments of it, and the memory that the backend takes for it.

Figures are printed last, one key=value a line. Exit status 1 if one of them is missed.
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(Path(__file__).parent))
import writers  # noqa: E402
from sql import Psql, literal  # noqa: E402

# The start and the seconds of each clip.
CLIPS = [
    ("fixtures/enrol/awb.flac", 0, 7.6),
    ("fixtures/enrol/rms.flac", 0, 7.6),
    ("fixtures/meeting.flac", 9.275, 4.4),
    ("fixtures/interview.flac", 0, 20),
]
WORDS = {
    "PICTURE": "-f lavfi -i testsrc=size=320x240:rate=10:duration=4",
    "COVER": "-i cover.png -map 0:a -map 1:v -c:v copy",
    # At the level of the one channel: ffmpeg's own way makes it 3 dB softer, and level is a part of the voice.
    "STEREO": "-af pan=stereo|c0=c0|c1=c0 -ar 44100",
    "SURROUND": "-af pan=5.1|FL=c0|FR=c0|FC=c0|LFE=c0|BL=c0|BR=c0 -ar 48000",
    "NOTHING": "-f lavfi -i anullsrc=r=16000:cl=mono -map 1:a -map 0:a -shortest",
}

# name, what audio_info says (container, codec), kind, options of ffmpeg, the name's ending, and what is then made of it.
FORMATS = [
    ("wav 8 bit", "wav", "pcm_u8", "coarse", "-c:a pcm_u8", "wav"),
    ("wav 16 bit", "wav", "pcm_s16le", "lossless", "-c:a pcm_s16le", "wav"),
    ("wav 24 bit", "wav", "pcm_s24le", "lossless", "-c:a pcm_s24le", "wav"),
    ("wav 32 bit", "wav", "pcm_s32le", "lossless", "-c:a pcm_s32le", "wav"),
    ("wav float", "wav", "pcm_f32le", "lossless", "-c:a pcm_f32le", "wav"),
    ("wav double", "wav", "pcm_f64le", "lossless", "-c:a pcm_f64le", "wav"),
    # Not lossless: ffmpeg's resampler takes a little of the highest octave.
    ("wav 44.1 kHz stereo", "wav", "pcm_s16le", "lossy", "-c:a pcm_s16le STEREO", "wav"),
    ("wav to a pipe", "wav", "pcm_s16le", "lossless", "-c:a pcm_s16le -f wav pipe:", "wav"),
    ("rf64", "wav", "pcm_s16le", "lossless", "-c:a pcm_s16le -rf64 always", "wav"),
    ("wav mu-law, telephone", "wav", "pcm_mulaw", "telephone", "-c:a pcm_mulaw -ar 8000", "wav"),
    ("wav a-law, telephone", "wav", "pcm_alaw", "telephone", "-c:a pcm_alaw -ar 8000", "wav"),
    ("wav adpcm ima", "wav", "adpcm_ima_wav", "coarse", "-c:a adpcm_ima_wav", "wav"),
    ("wav adpcm ms", "wav", "adpcm_ms", "coarse", "-c:a adpcm_ms", "wav"),
    ("aiff", "aiff", "pcm_s16be", "lossless", "-c:a pcm_s16be", "aiff"),
    ("aifc", "aiff", "pcm_s16le", "lossless", "-c:a pcm_s16le", "aiff"),
    ("flac", "flac", "flac", "lossless", "-c:a flac", "flac"),
    ("flac to a pipe", "flac", "flac", "lossless", "-c:a flac -f flac pipe:", "flac"),
    ("flac in ogg", "ogg", "flac", "lossless", "-c:a flac", "ogg"),
    ("alac in m4a", "mp4", "alac", "lossless", "-c:a alac", "m4a"),
    ("mp3 64 kbit/s", "mp3", "mp3", "lossy", "-c:a libmp3lame -b:a 64k", "mp3"),
    ("mp3 128 kbit/s stereo", "mp3", "mp3", "lossy", "-c:a libmp3lame -b:a 128k STEREO", "mp3"),
    ("mp3 variable", "mp3", "mp3", "lossy", "-c:a libmp3lame -q:a 4 -ar 44100", "mp3"),
    ("mp3 variable, no xing", "mp3", "mp3", "lossy", "-c:a libmp3lame -q:a 4 -ar 44100 -write_xing 0", "mp3"),
    ("mp3 tags and cover", "mp3", "mp3", "lossy",
     "COVER -c:a libmp3lame -b:a 64k -id3v2_version 3 -metadata title=Voice -write_id3v1 1", "mp3"),
    ("mp2", "mp3", "mp2", "lossy", "-c:a mp2 -b:a 160k -ar 44100", "mp2"),
    ("aac adts", "aac", "aac", "lossy", "-c:a aac -b:a 64k", "aac"),
    ("aac m4a", "mp4", "aac", "lossy", "-c:a aac -b:a 64k", "m4a"),
    ("aac m4a stereo faststart", "mp4", "aac", "lossy", "-c:a aac -b:a 128k STEREO -movflags +faststart", "m4a"),
    ("mp4 fragmented", "mp4", "aac", "lossy", "-c:a aac -b:a 64k -movflags +frag_keyframe+empty_moov -frag_duration 1000000", "mp4"),
    ("mp4 film", "mp4", "aac", "lossy", "PICTURE -map 1:v -map 0:a -c:v libx264 -pix_fmt yuv420p -c:a aac -b:a 64k", "mp4"),
    ("mov", "mp4", "pcm_s16le", "lossless", "-c:a pcm_s16le", "mov"),
    ("flac in mp4", "mp4", "flac", "lossless", "-c:a flac -strict experimental", "mp4"),
    ("opus in mp4", "mp4", "opus", "lossy", "-c:a libopus -b:a 32k", "mp4"),
    ("mkv film, two languages", "matroska", "aac", "lossy",
     "PICTURE -map 1:v -map 0:a -map 0:a -c:v libx264 -pix_fmt yuv420p -c:a:0 aac -b:a:0 64k -c:a:1 libvorbis", "mkv"),
    ("flac in mkv", "matroska", "flac", "lossless", "-c:a flac", "mkv"),
    ("vorbis", "ogg", "vorbis", "lossy", "-c:a libvorbis -q:a 3", "ogg"),
    ("vorbis 44.1 kHz stereo", "ogg", "vorbis", "lossy", "-c:a libvorbis -q:a 4 STEREO", "ogg"),
    ("vorbis webm", "matroska", "vorbis", "lossy", "-c:a libvorbis -q:a 3", "webm"),
    ("opus 16 kbit/s", "ogg", "opus", "lossy", "-c:a libopus -b:a 16k -application voip", "opus"),
    ("opus 24 kbit/s, 60 ms", "ogg", "opus", "lossy", "-c:a libopus -b:a 24k -frame_duration 60", "opus"),
    ("opus 32 kbit/s, 20 ms", "ogg", "opus", "lossy", "-c:a libopus -b:a 32k -frame_duration 20", "opus"),
    ("opus 48 kHz stereo", "ogg", "opus", "lossy", "-c:a libopus -b:a 96k -af pan=stereo|c0=c0|c1=c0 -ar 48000", "opus"),
    ("opus 2.5 ms", "ogg", "opus", "lossy", "-c:a libopus -b:a 64k -application lowdelay -frame_duration 2.5", "opus"),
    ("opus 8 kHz, telephone", "ogg", "opus", "telephone", "-c:a libopus -b:a 16k -ar 8000", "opus"),
    ("opus webm", "matroska", "opus", "lossy", "-c:a libopus -b:a 32k", "webm"),
    ("opus webm, live", "matroska", "opus", "lossy", "-c:a libopus -b:a 32k -f webm -live 1 pipe:", "webm"),
    ("opus and vp9 webm, live", "matroska", "opus", "lossy",
     "PICTURE -map 1:v -map 0:a -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus -b:a 32k -f webm -live 1 pipe:", "webm"),
    ("wav a-law, fmt of 16", "wav", "pcm_alaw", "telephone", "-c:a pcm_alaw -ar 8000", "wav", writers.short),
    ("wav mu-law, fmt of 16", "wav", "pcm_mulaw", "telephone", "-c:a pcm_mulaw -ar 8000", "wav", writers.short),
    ("wav a-law, extensible", "wav", "pcm_alaw", "telephone", "-c:a pcm_alaw -ar 8000", "wav", writers.extensible),
    ("wav mu-law, extensible", "wav", "pcm_mulaw", "telephone", "-c:a pcm_mulaw -ar 8000", "wav", writers.extensible),
    ("wav 16 bit, fmt of 20", "wav", "pcm_s16le", "lossless", "-c:a pcm_s16le", "wav", writers.long),
    ("wav float, extensible", "wav", "pcm_f32le", "lossless", "-c:a pcm_f32le", "wav", writers.extensible),
    ("wav 24 bit in 4 bytes, low", "wav", "pcm_s24le", "lossless", "-c:a pcm_s24le", "wav", writers.four_bytes(True)),
    ("wav 24 bit in 4 bytes, high", "wav", "pcm_s32le", "lossless", "-c:a pcm_s24le", "wav", writers.four_bytes(False)),
    ("wav big-endian", "wav", "pcm_s16be", "lossless", "-c:a pcm_s16le", "wav", writers.big_endian),
    ("bw64", "wav", "pcm_s16le", "lossless", "-c:a pcm_s16le", "wav", writers.bw64),
    ("w64", "w64", "pcm_s16le", "lossless", "-c:a pcm_s16le", "w64"),
    ("au", "au", "pcm_s16be", "lossless", "-c:a pcm_s16be", "au"),
    ("au mu-law, telephone", "au", "pcm_mulaw", "telephone", "-c:a pcm_mulaw -ar 8000", "au"),
    ("caf", "caf", "pcm_s16be", "lossless", "-c:a pcm_s16be", "caf"),
    ("caf little-endian", "caf", "pcm_s24le", "lossless", "-c:a pcm_s24le", "caf"),
    ("caf a-law, telephone", "caf", "pcm_alaw", "telephone", "-c:a pcm_alaw -ar 8000", "caf"),
    ("mov 8 bit", "mp4", "pcm_s8", "coarse", "-c:a pcm_s8", "mov"),
    ("mov 16 bit big-endian", "mp4", "pcm_s16be", "lossless", "-c:a pcm_s16be", "mov"),
    ("mov 24 bit", "mp4", "pcm_s24le", "lossless", "-c:a pcm_s24le", "mov"),
    ("mov 24 bit big-endian", "mp4", "pcm_s24be", "lossless", "-c:a pcm_s24be", "mov"),
    ("mov 32 bit big-endian", "mp4", "pcm_s32be", "lossless", "-c:a pcm_s32be", "mov"),
    ("mov float big-endian", "mp4", "pcm_f32be", "lossless", "-c:a pcm_f32be", "mov"),
    ("mov double", "mp4", "pcm_f64le", "lossless", "-c:a pcm_f64le", "mov"),
    ("mov double big-endian", "mp4", "pcm_f64be", "lossless", "-c:a pcm_f64be", "mov"),
    ("mov a-law, telephone", "mp4", "pcm_alaw", "telephone", "-c:a pcm_alaw -ar 8000", "mov"),
    ("mov alac", "mp4", "alac", "lossless", "-c:a alac", "mov"),
    ("mov, silent first track", "mp4", "pcm_s16le", "lossless", "NOTHING -c:a pcm_s16le", "mov"),
    ("pcm in mp4", "mp4", "pcm_s16le", "lossless", "-c:a pcm_s16le", "mp4"),
    ("pcm in mp4, float", "mp4", "pcm_f32be", "lossless", "-c:a pcm_f32be", "mp4"),
    ("aac 5.1 m4a", "mp4", "aac", "lossy", "SURROUND -c:a aac -b:a 320k", "m4a"),
    ("aac 5.1 adts", "aac", "aac", "lossy", "SURROUND -c:a aac -b:a 320k", "aac"),
    ("mkv, silent first track", "matroska", "flac", "lossless", "NOTHING -c:a flac", "mkv"),
    ("opus 5.1", "ogg", "opus", "lossy", "SURROUND -c:a libopus -b:a 256k -mapping_family 1", "opus"),
    ("opus 5.1 webm", "matroska", "opus", "lossy", "SURROUND -c:a libopus -b:a 256k -mapping_family 1", "webm"),
    ("opus, times of 16 kHz", "ogg", "opus", "lossy", "-c:a libopus -b:a 32k -page_duration 200000", "opus",
     writers.granules(lambda position: position // 3)),
    ("opus without times", "ogg", "opus", "lossy", "-c:a libopus -b:a 32k -page_duration 200000", "opus",
     writers.granules(lambda position: 0)),
    ("vorbis, times too small", "ogg", "vorbis", "lossy", "-c:a libvorbis -q:a 3 -page_duration 200000", "ogg",
     writers.granules(lambda position: position // 2)),
]

# What is known and not read: name, options of ffmpeg, the name's ending, and the word that the error must have.
NAMED = [
    ("ac-3", "-c:a ac3", "ac3", "ac3"),
    ("e-ac-3", "-c:a eac3", "eac3", "ac3"),
    ("dts", "-c:a dca -strict experimental -ar 48000", "dts", "dts"),
    ("truehd", "-c:a truehd -strict experimental -ar 48000", "thd", "truehd"),
    ("wma", "-c:a wmav2 -ar 44100", "wma", "wma"),
    ("wavpack", "-c:a wavpack", "wv", "wavpack"),
    ("true audio", "-c:a tta", "tta", "tta"),
    ("mpeg-ts", "-c:a aac", "ts", "mpeg-ts"),
    ("mpeg-ps", "-c:a mp2 -ar 44100 -f vob", "vob", "mpeg-ps"),
    ("latm", "-c:a aac -f latm", "latm", "latm"),
    ("flv", "-c:a aac", "flv", "flv"),
    ("avi", "-c:a pcm_s16le", "avi", "avi"),
    ("voc", "-c:a pcm_u8", "voc", "voc"),
    ("realmedia", "-c:a real_144 -ar 8000", "rm", "real"),
    ("nut", "-c:a pcm_s16le", "nut", "nut"),
    ("mxf", "PICTURE -map 1:v -map 0:a -c:v mpeg2video -r 25 -c:a pcm_s16le -ar 48000", "mxf", "mxf"),
    ("g726 in wav", "-c:a g726 -ar 8000", "wav", "g726"),
    ("yamaha adpcm in wav", "-c:a adpcm_yamaha", "wav", "yamaha"),
    ("wma in wav", "-c:a wmav2 -ar 44100", "wav", "wma"),
    ("ac-3 in wav", "-c:a ac3 -ar 48000", "wav", "ac3"),
    ("ima4 in mov", "-c:a adpcm_ima_qt", "mov", "ima4"),
    ("ima4 in aiff", "-c:a adpcm_ima_qt", "aiff", "ima4"),
    ("ima4 in caf", "-c:a adpcm_ima_qt", "caf", "ima4"),
    ("alac in caf", "-c:a alac", "caf", "alac"),
    ("ac-3 in mp4", "-c:a ac3 -ar 48000", "mp4", "ac3"),
    ("e-ac-3 in mp4", "-c:a eac3 -ar 48000", "mp4", "eac3"),
    ("ac-3 in matroska", "-c:a ac3", "mkv", "ac3"),
    ("dts in matroska", "-c:a dca -strict experimental -ar 48000", "mkv", "dts"),
    ("truehd in matroska", "-c:a truehd -strict experimental -ar 48000", "mkv", "truehd"),
    ("true audio in matroska", "-c:a tta", "mkv", "tta"),
    ("wma in matroska", "-c:a wmav2 -ar 44100", "mkv", "ms/acm"),
    ("speex in ogg", "-c:a libspeex", "spx", "speex"),
]

# Seconds by which a file may be longer than what went in: packets and blocks are filled up, and some containers have no
# place to say how far.
LONGER = 0.15
SHORTER = 0.005

HOURS, SEGMENTS = 3, 2000
TO_MEET = {
    "lossy_min_cosine": lambda value: value >= 0.95,
    "lossless_min_cosine": lambda value: value >= 0.9999,
    "decoder_min_cosine": lambda value: value >= 0.99,
    "formats_failed": lambda value: value == 0,
    "formats_unnamed": lambda value: value == 0,
    "readers_disagree": lambda value: value == 0,
    "long_audio_peak_mb": lambda value: value <= 120,
}


class Formats:
    def __init__(self, db, ffmpeg, work, fuzz, speech):
        self.db, self.ffmpeg, self.work, self.fuzz, self.figures = db, ffmpeg, work, fuzz, {}
        self.clips = [(ROOT / path, start, seconds) for path, start, seconds in CLIPS]
        folders = sorted(folder for folder in speech.iterdir() if folder.is_dir())[:4] if speech else []
        self.clips += [(min(file for file in folder.rglob("*") if file.is_file()), 0, 20) for folder in folders]

    def encode(self, target, source, options):
        words = [word for option in options.split() for word in WORDS.get(option, option).split()]
        command = [self.ffmpeg, "-nostdin", "-v", "error", "-y", "-i", source, *words]
        if words[-1] == "pipe:":
            # A pipe cannot be gone back to: no lengths in headers.
            piped = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=self.work).stdout
            target.write_bytes(piped)
        else:
            subprocess.run([*command, target], check=True, cwd=self.work)
        return target

    def store(self, clip, name, file):
        path = literal(str(file))
        self.db.run(f"INSERT INTO clips VALUES ({clip}, {literal(name)}, pg_read_binary_file({path}))")

    def table(self):
        self.db.run("CREATE TABLE public.clips (clip int, format text, audio bytea STORAGE EXTERNAL, PRIMARY KEY (clip, format))")
        subprocess.run(
            [self.ffmpeg, "-nostdin", "-v", "error", "-y", *WORDS["PICTURE"].split(), "-frames:v", "1", self.work / "cover.png"],
            check=True,
        )
        for clip, (source, start, seconds) in enumerate(self.clips):
            cut = f"-ss {start} -t {seconds} -ar 16000 -ac 1 -c:a pcm_s16le"
            original = self.encode(self.work / f"{clip}.wav", source, cut)
            self.store(clip, "original", original)
            phone = self.encode(self.work / f"{clip}-phone.wav", original, "-ar 8000 -c:a pcm_s16le")
            self.store(clip, "telephone", phone)
            for number, (name, _, _, _, options, ending, *made) in enumerate(FORMATS):
                encoded = self.encode(self.work / f"{clip}-{number}.{ending}", original, options)
                # The last track is the one with sound.
                track = 1 if "NOTHING" in options else 0
                decoded = self.encode(
                    self.work / f"{clip}-{number}.decoded.wav", encoded, f"-map 0:a:{track} -c:a pcm_f32le"
                )
                for write in made:
                    encoded.write_bytes(write(encoded.read_bytes()))
                self.store(clip, name, encoded)
                self.store(clip, name + ", decoded", decoded)
        references = {name: self.measure(name) for name in ("original", "telephone")}
        width = max(len(name) for name, *_ in FORMATS)
        print(f"{'format':{width}} {'container':9} {'codec':14} {'decoded':8} {'length':>17} {'original':>9} {'ffmpeg':>8}")
        lowest = dict.fromkeys(("lossless", "lossy", "telephone", "coarse", "decoder"), 2.0)
        failed = 0
        for name, container, codec, kind, *_ in FORMATS:
            found = self.measure(name)
            reference = references["telephone" if kind == "telephone" else "original"]
            told = {(row["container"], row["codec"]) for row in found}
            errors = [row["error"] for row in found if row["error"]]
            if errors:
                print(f"{name:{width}} {container:9} {codec:14} no: {errors[0]}")
                failed += 1
                continue
            late = [row["seconds"] - want["seconds"] for row, want in zip(found, references["original"], strict=True)]
            right = all(-SHORTER <= seconds <= LONGER for seconds in late) and told == {(container, codec)}
            cosine = min(float(row["vector"] @ want["vector"]) for row, want in zip(found, reference, strict=True))
            decoded = self.measure(name + ", decoded")
            parity = min(float(row["vector"] @ want["vector"]) for row, want in zip(found, decoded, strict=True))
            lowest[kind] = min(lowest[kind], cosine)
            lowest["decoder"] = min(lowest["decoder"], parity)
            failed += not right
            length = f"{1000 * min(late):+.1f}..{1000 * max(late):+.1f} ms"
            print(f"{name:{width}} {container:9} {codec:14} {'yes' if right else 'WRONG':8} {length:>17} {cosine:9.5f} {parity:8.5f}")
            if told != {(container, codec)}:
                print(f"{'':{width}} audio_info says {told}")
        self.figures["lossless_min_cosine"] = round(lowest["lossless"], 6)
        self.figures["decoder_min_cosine"] = round(lowest["decoder"], 6)
        self.figures["telephone_min_cosine"] = round(lowest["telephone"], 4)
        self.figures["coarse_min_cosine"] = round(lowest["coarse"], 4)
        self.figures["lossy_min_cosine"] = round(min(lowest["lossy"], lowest["telephone"]), 4)
        self.figures["formats_decoded"] = len(FORMATS) - failed
        self.figures["formats_failed"] = failed

    def measure(self, name):
        """What the server makes of a format, a row per clip."""
        rows = self.db.run(
            # An error of one clip is a row of its own, not the end of the table.
            f"SELECT row_to_json(x) FROM clips AS c, tried(c.audio) AS x WHERE c.format = {literal(name)} ORDER BY c.clip"
        )
        found = [json.loads(row) for row in rows.splitlines()]
        for row in found:
            row["vector"] = np.array(json.loads(row["vector"] or "[]"))
        return found

    def named(self):
        """What is refused, and whether the error says what it is."""
        unnamed = 0
        for number, (name, options, ending, word) in enumerate(NAMED):
            file = self.encode(self.work / f"named-{number}.{ending}", self.work / "0.wav", options)
            told = self.db.run(f"SELECT error FROM tried(pg_read_binary_file({literal(str(file))}))").strip()
            right = word in told and "not supported" in told
            unnamed += not right
            print(f"{name:28} {'named' if right else 'UNNAMED':8} {told or 'is read'}")
        self.figures["formats_named"] = len(NAMED) - unnamed
        self.figures["formats_unnamed"] = unnamed

    def agreement(self):
        """Whether audio_info, clips and extraction read the same, over samples and damaged ones."""
        samples = self.work / "samples"
        shutil.rmtree(samples, ignore_errors=True)
        samples.mkdir()
        for file in (ROOT / "crates/speaker_core/tests/data").iterdir():
            if file.is_file():
                shutil.copy(file, samples)
        for number, (*_, ending) in enumerate([row[:6] for row in FORMATS]):
            shutil.copy(self.work / f"0-{number}.{ending}", samples)
        run = subprocess.run(
            [self.fuzz, "agree", samples, self.work, "20261121", "10000"], stdout=subprocess.PIPE, text=True
        )
        print(run.stdout)
        figures = dict(line.split("=", 1) for line in run.stdout.splitlines() if line.startswith("readers_"))
        self.figures["readers_compared"] = int(figures["readers_compared"])
        self.figures["readers_disagree"] = int(figures["readers_disagree"])

    def long_audio(self):
        """The memory of one backend that backfills 2,000 segments of three hours."""
        minutes = self.encode(
            self.work / "minutes.mp3", ROOT / "fixtures/meeting.flac", "STEREO -c:a libmp3lame -b:a 128k"
        )
        hours = self.work / "hours.mp3"
        subprocess.run(
            [self.ffmpeg, "-nostdin", "-v", "error", "-y", "-stream_loop", "-1", "-i", minutes, "-t", str(HOURS * 3600),
             "-c", "copy", hours],
            check=True,
        )
        limits = "SET speaker.max_audio_bytes = '200MB'"
        self.db.run(
            f"{limits}; INSERT INTO speaker.recordings (external_id, audio)"
            f" SELECT 'three hours', pg_read_binary_file({literal(str(hours))})"
        )
        segments = json.dumps([
            {"start": n * HOURS * 3600 / SEGMENTS, "end": n * HOURS * 3600 / SEGMENTS + 3.0} for n in range(SEGMENTS)
        ])
        self.db.run(f"SELECT add_run('three hours', {literal(segments)})")
        call = f"""
            {limits};
            SET client_min_messages = warning;
            SELECT pg_backend_pid();
            CALL backfill_embeddings(batch_size => {SEGMENTS}, recording => 'three hours');
        """
        started = time.monotonic()
        psql = subprocess.Popen(
            [*self.db.command, "-At"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        psql.stdin.write(call)
        psql.stdin.close()
        peak = Peak(int(psql.stdout.readline()))
        counts = psql.stdout.readline().strip()
        peak.stop()
        if psql.wait() or counts != f"{SEGMENTS}|0|0":
            sys.exit(f"the long recording gave {counts or 'nothing'}")
        self.figures["long_audio_bytes"] = hours.stat().st_size
        self.figures["long_audio_embeddings"] = int(counts.split("|")[0])
        self.figures["long_audio_s"] = round(time.monotonic() - started, 1)
        self.figures["long_audio_samples"] = peak.samples
        self.figures["long_audio_peak_mb"] = round(peak.kilobytes / 1024, 1)


class Peak(threading.Thread):
    """The most private memory that a process was seen to have written to, until it is stopped."""

    def __init__(self, pid):
        super().__init__()
        self.rollup, self.kilobytes, self.samples = Path(f"/proc/{pid}/smaps_rollup"), 0, 0
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            lines = self.rollup.read_text().splitlines()
            private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
            self.kilobytes, self.samples = max(self.kilobytes, private), self.samples + 1

    def stop(self):
        self.over.set()
        self.join()


TRIED = """
CREATE FUNCTION public.tried(audio bytea, OUT container text, OUT codec text, OUT seconds float8, OUT vector text, OUT error text)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT i.container, i.codec, i.duration_s INTO container, codec, seconds FROM audio_info(audio) AS i;
    vector := extract_speaker_embedding(audio)::text;
EXCEPTION WHEN OTHERS THEN
    error := sqlerrm;
END $$;
"""


def main(conninfo, psql, ffmpeg, work, fuzz, speech=None):
    work = Path(work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    db = Psql(psql, conninfo)
    db.make_store()
    db.run(TRIED)
    formats = Formats(db, ffmpeg, work, fuzz, Path(speech) if speech else None)
    formats.table()
    formats.named()
    formats.agreement()
    formats.long_audio()
    print()
    for key, value in formats.figures.items():
        print(f"{key}={value}")
    missed = [key for key, holds in TO_MEET.items() if not holds(formats.figures[key])]
    if missed:
        sys.exit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main(*sys.argv[1:])
