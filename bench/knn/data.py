"""Voices to measure with: a million embeddings of 10,000 speakers, von Mises-Fisher around random directions."""

import io
import struct

import numpy as np

DIM = 256
# Concentration at which an embedding's cosine to its speaker's direction is about 0.75, as those of real voices are.
KAPPA = 430.0
SEED = 20240501


def voices(speakers, embeddings, generator):
    """Embeddings, and the speaker (from 0) of each, in random order."""
    centres = unit(generator.standard_normal((speakers, DIM), dtype=np.float32))
    owner = generator.permutation(np.arange(embeddings) % speakers)
    vectors = np.empty((embeddings, DIM), dtype=np.float32)
    for start in range(0, embeddings, 50_000):
        rows = slice(start, start + 50_000)
        vectors[rows] = around(centres[owner[rows]], generator)
    return vectors, owner


def around(centres, generator):
    """One von Mises-Fisher sample around each centre (Wood 1994: the cosine by rejection, the rest uniform)."""
    cosines = wood(len(centres), generator)[:, None]
    aside = generator.standard_normal(centres.shape, dtype=np.float32)
    aside -= (aside * centres).sum(axis=1, keepdims=True) * centres
    return unit(cosines * centres + np.sqrt(1 - cosines**2) * unit(aside))


def wood(count, generator):
    b = (DIM - 1) / (2 * KAPPA + np.sqrt(4 * KAPPA**2 + (DIM - 1) ** 2))
    x = (1 - b) / (1 + b)
    c = KAPPA * x + (DIM - 1) * np.log(1 - x**2)
    accepted = np.empty(0)
    while len(accepted) < count:
        z = generator.beta((DIM - 1) / 2, (DIM - 1) / 2, count)
        w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        keep = KAPPA * w + (DIM - 1) * np.log(1 - x * w) - c >= np.log(generator.random(count))
        accepted = np.concatenate([accepted, w[keep]])
    return accepted[:count].astype(np.float32)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def copy_binary(cursor, table, columns, rows):
    """COPY BINARY; each row is a tuple of bytes, as PostgreSQL's binary format has them, or None."""
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)") as copy:
        buffer = io.BytesIO()
        buffer.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for row in rows:
            buffer.write(struct.pack(">h", len(row)))
            for field in row:
                buffer.write(struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field)
            if buffer.tell() > 1 << 20:
                copy.write(buffer.getvalue())
                buffer = io.BytesIO()
        buffer.write(struct.pack(">h", -1))
        copy.write(buffer.getvalue())


def bigint(value):
    return struct.pack(">q", value)


def integer(value):
    return struct.pack(">i", value)


def double(value):
    return struct.pack(">d", value)


def boolean(value):
    return struct.pack(">?", value)


def vector(values):
    return struct.pack(">HH", len(values), 0) + values.astype(">f4").tobytes()
