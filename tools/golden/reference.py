"""The reference implementation of the default model, Resemblyzer 0.1.4, with its intermediate results laid open.

Nothing is reimplemented: the frames kept by voice activity detection and the mel windows are caught as they pass from
one of its functions to the next.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import soundfile
import torch

with warnings.catch_warnings():
    # It imports pkg_resources and a moved module of scipy.
    warnings.simplefilter("ignore")
    import librosa
    from resemblyzer import VoiceEncoder, audio, preprocess_wav
    from resemblyzer.hparams import mel_window_step, sampling_rate

FRAME = 480  # samples of one voice activity decision


@dataclass
class Details:
    kept: np.ndarray  # bool, for each decision of 30 ms: is it speech
    speech: np.ndarray  # f32 samples that are left
    starts: list  # first frame of each window
    windows: np.ndarray  # f32 [n, 160, 40]
    embedding: np.ndarray  # f32 [256]


class Reference:
    def __init__(self):
        # One thread: sums in the same order in every run.
        torch.set_num_threads(1)
        self.encoder = VoiceEncoder("cpu", verbose=False)
        self.encoder.register_forward_pre_hook(self._catch_windows)

    def _catch_windows(self, _module, inputs):
        self.windows = inputs[0].numpy().copy()

    def speech(self, samples, rate=None):
        """What is left of samples after level and voice activity detection, and the decisions."""
        caught = []
        dilate = audio.binary_dilation

        def catching(*arguments):
            caught.append(dilate(*arguments))
            return caught[0]

        audio.binary_dilation = catching
        try:
            speech = preprocess_wav(samples, rate)
        finally:
            audio.binary_dilation = dilate
        return speech, caught[0].astype(bool)

    def embed_speech(self, speech):
        """The embedding of samples that have been through speech()."""
        return self.encoder.embed_utterance(speech)

    def embed(self, samples, rate=None):
        speech, _ = self.speech(samples, rate)
        return self.embed_speech(speech)

    def details(self, samples):
        speech, kept = self.speech(samples)
        embedding, _, slices = self.encoder.embed_utterance(speech, return_partials=True)
        hop = sampling_rate * mel_window_step // 1000
        return Details(kept, speech, [int(part.start) // hop for part in slices], self.windows, embedding)


def load(path):
    """Samples and rate of a file, as preprocess_wav loads it."""
    return librosa.load(path, sr=None)


def load_bytes(data):
    return librosa.load(io.BytesIO(data), sr=None)


def load_int16(path):
    """The samples of a 16-bit file, unscaled."""
    return soundfile.read(path, dtype="int16")[0]
