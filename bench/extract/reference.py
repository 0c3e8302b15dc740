"""The reference implementation of the default model, one thread, file by file: reference.py FILE...

Says "ready" when it is warm. For each line that it reads, it embeds all files once and answers seconds of time and of
processor time.
"""

import sys
import time
import warnings

import torch

torch.set_num_threads(1)
with warnings.catch_warnings():
    # It imports pkg_resources and a moved module of scipy.
    warnings.simplefilter("ignore")
    from resemblyzer import VoiceEncoder, preprocess_wav


def main():
    files = sys.argv[1:]
    encoder = VoiceEncoder("cpu", verbose=False)

    def embed_all():
        for file in files:
            encoder.embed_utterance(preprocess_wav(file))

    embed_all()
    print("ready", flush=True)
    for _ in sys.stdin:
        started, busy = time.perf_counter(), time.process_time()
        embed_all()
        print(time.perf_counter() - started, time.process_time() - busy, flush=True)


if __name__ == "__main__":
    main()
