#!/bin/sh
# Makes the sample files of crates/speaker_core/tests/data: one spoken sentence in every container and codec.
#
# The speech is synthetic (espeak-ng), so nobody's voice is in the repository. The files are committed; run this only to
# add or change one. Made with ffmpeg 5.1 and espeak-ng 1.51 (Debian 12: apt-get install ffmpeg espeak-ng). Other
# versions give other bytes, and the tests' tolerances still hold.
set -eu

out="$(dirname "$0")/../crates/speaker_core/tests/data"
mkdir -p "$out"
cd "$out"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# $1 output, the rest options. Without versions and dates, so that a second run gives the same bytes.
encode() {
    target="$1"
    shift
    ffmpeg -nostdin -v error -y "$@" -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact "$target"
}

# The original: 1.5 s, 16 kHz, mono, 16 bits. All others are made of it.
espeak-ng -v en -s 150 -w "$work/spoken.wav" "My voice is my passport, verify me."
encode speech.wav -i "$work/spoken.wav" -ar 16000 -ac 1 -t 1.5 -c:a pcm_s16le

# WAV with codecs that the tests cannot write themselves.
encode speech_alaw.wav -i speech.wav -ar 8000 -c:a pcm_alaw
encode speech_mulaw.wav -i speech.wav -ar 8000 -c:a pcm_mulaw
encode speech_adpcm_ms.wav -i speech.wav -c:a adpcm_ms
encode speech_adpcm_ima.wav -i speech.wav -c:a adpcm_ima_wav

# Lossless.
encode speech.flac -i speech.wav -c:a flac
encode speech.aiff -i speech.wav -ar 8000 -c:a pcm_s16be
encode speech_alac.m4a -i speech.wav -c:a alac

# Raw samples behind other headers, and QuickTime's own byte order.
encode speech.au -i speech.wav -ar 8000 -c:a pcm_mulaw
encode speech.caf -i speech.wav -ar 8000 -c:a pcm_alaw
encode speech.w64 -i speech.wav -ar 8000 -c:a pcm_u8
encode speech_24be.mov -i speech.wav -ar 8000 -c:a pcm_s24be

# Lossy. "stereo" is 44.1 kHz, the right channel at half the level of the left.
stereo='aresample=44100,pan=stereo|c0=c0|c1=0.5*c0'
encode speech.mp3 -i speech.wav -c:a libmp3lame -b:a 32k
encode speech_stereo.mp3 -i speech.wav -af "$stereo" -c:a libmp3lame -q:a 6
encode speech_vbr_no_xing.mp3 -i speech.wav -af "$stereo" -c:a libmp3lame -q:a 6 -write_xing 0
encode speech.aac -i speech.wav -c:a aac -b:a 32k -f adts
encode speech_stereo.m4a -i speech.wav -af "$stereo" -c:a aac -b:a 64k -movflags +faststart
encode speech_fragmented.mp4 -i speech.wav -c:a aac -b:a 32k -movflags +frag_keyframe+empty_moov -frag_duration 300000
encode speech.ogg -i speech.wav -c:a libvorbis -q:a 3
encode speech_stereo.ogg -i speech.wav -af "$stereo" -c:a libvorbis -q:a 2
encode speech_51.ogg -i speech.wav -af 'aresample=48000,pan=5.1|FL=0.5*c0|FR=0.5*c0|FC=c0|LFE=0*c0|BL=0*c0|BR=0*c0' \
    -c:a libvorbis -q:a 1
encode speech.opus -i speech.wav -c:a libopus -b:a 24k
encode speech_60ms.opus -i speech.wav -af "$stereo" -c:a libopus -b:a 32k -frame_duration 60
encode speech_2ms.opus -i speech.wav -c:a libopus -b:a 48k -application lowdelay -frame_duration 2.5
encode speech_opus.mp4 -i speech.wav -c:a libopus -b:a 24k
encode speech_opus.webm -i speech.wav -c:a libopus -b:a 24k
# As a browser records: no duration, no index, clusters of unknown size.
encode speech_live.webm -i speech.wav -c:a libopus -b:a 24k -f webm -live 1
encode speech.webm -i speech.wav -c:a libvorbis -q:a 3
encode speech.mkv -i speech.wav -c:a aac -b:a 32k

# Surround sound: the voice in front.
surround='aresample=48000,pan=5.1|FL=0.5*c0|FR=0.5*c0|FC=c0|LFE=0*c0|BL=0*c0|BR=0*c0'
encode speech_51.m4a -i speech.wav -af "$surround" -c:a aac -b:a 96k
encode speech_51.opus -i speech.wav -af "$surround" -c:a libopus -b:a 96k -mapping_family 1

# As a recorder of screens does it: the sound of the system, of which there was none, and the microphone.
encode speech_two_tracks.mov -f lavfi -i 'anullsrc=r=16000:cl=mono' -i speech.wav -map 0 -map 1 -t 1.5 -c:a aac -b:a 32k

# A film: a picture track first, then sound.
encode film.mp4 -f lavfi -i 'testsrc=size=64x48:rate=5:duration=1.5' -i speech.wav -c:v libx264 -pix_fmt yuv420p \
    -g 4 -c:a aac -b:a 32k
# A film without sound.
encode silent_film.mp4 -f lavfi -i 'testsrc=size=64x48:rate=5:duration=0.4' -c:v libx264 -pix_fmt yuv420p

# Tags and cover art in front of the audio. The picture is noise: large, and full of bytes that look like sync words.
encode "$work/cover.png" -f lavfi -i 'nullsrc=size=64x64,geq=random(1)*255:128:128' -frames:v 1
ffmpeg -nostdin -v error -y -i speech.mp3 -i "$work/cover.png" -map 0 -map 1 -c copy -id3v2_version 3 \
    -metadata title=Passport -metadata:s:v comment='Cover (front)' -fflags +bitexact speech_tagged.mp3

# A bomb: two hours of silence in a few kilobytes.
encode two_hours_of_silence.flac -f lavfi -i 'anullsrc=r=8000:cl=mono' -t 7200 -c:a flac -frame_size 65535

ls -l
du -cb -- * | tail -n 1
