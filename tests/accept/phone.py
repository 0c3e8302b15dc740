"""A telephone line: 16 kHz samples in, the bytes of an 8 kHz mu-law WAV file out. Numpy only.

Band-pass of 300-3400 Hz (the band of ITU-T G.711 telephony) as a windowed-sinc filter, every second sample, then G.711
mu-law. No noise, no packet loss, no codec of mobile telephony.
"""

import struct
import wave
from io import BytesIO

import numpy as np

LOW_HZ, HIGH_HZ = 300, 3400
# Odd, so that the delay is whole samples. A Hamming window of 401 taps at 16 kHz falls off within 130 Hz.
TAPS = 401
WAVE_FORMAT_MULAW = 7


def band_pass(low_hz, high_hz, rate):
    """The difference of two ideal low-passes, cut to TAPS by a Hamming window."""
    at = np.arange(TAPS) - TAPS // 2

    def low_pass(hz):
        return 2 * hz / rate * np.sinc(2 * hz / rate * at)

    return (low_pass(high_hz) - low_pass(low_hz)) * np.hamming(TAPS)


def mu_law(samples):
    """G.711 mu-law codes of int16 samples: sign, exponent and four bits of mantissa, all inverted."""
    samples = np.asarray(samples, np.int32)
    magnitude = np.minimum(np.abs(samples), 32635) + 132
    # 132 is the bias that puts the first step at 2^7: frexp counts from 2^0, hence 8.
    exponent = np.frexp(magnitude)[1] - 8
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(samples < 0, 0x80, 0)
    return (~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)


def telephone(samples):
    """The WAV file that a line makes of int16 samples at 16 kHz."""
    filtered = np.convolve(np.asarray(samples, np.float64), band_pass(LOW_HZ, HIGH_HZ, 16_000))
    # The filter's delay is cut off: the result is in time with its source.
    aligned = filtered[TAPS // 2 : TAPS // 2 + len(samples)][::2]
    codes = mu_law(np.clip(np.rint(aligned), -32768, 32767)).tobytes()
    fmt = struct.pack("<HHIIHHH", WAVE_FORMAT_MULAW, 1, 8_000, 8_000, 1, 8, 0)
    chunks = [(b"fmt ", fmt), (b"fact", struct.pack("<I", len(codes))), (b"data", codes)]
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def samples_of_wav(data):
    """int16 samples of a 16 kHz mono PCM WAV file, as audio_clip() returns."""
    with wave.open(BytesIO(data)) as file:
        found = file.getframerate(), file.getnchannels(), file.getsampwidth()
        if found != (16_000, 1, 2):
            raise ValueError(f"rate, channels and bytes are {found}, but (16000, 1, 2) is expected")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")
