"""Files that ffmpeg does not write, and recorders do: each is made of one that it does write, with the same sound.

A WAV file is taken apart into the fields of its fmt chunk and its samples, and gets another header.
"""

import struct

# The end of the GUIDs of WAVE_FORMAT_EXTENSIBLE; a format tag is their start.
GUID = bytes.fromhex("000000001000800000aa00389b71")


def parts(wav):
    """The first 16 bytes of the fmt chunk, with the plain tag of an extensible one, and the samples."""
    at, fmt = 12, b""
    while True:
        kind, size = struct.unpack_from("<4sI", wav, at)
        body = wav[at + 8 : at + 8 + size]
        if kind == b"fmt ":
            tag = body[24:26] if body[:2] == b"\xfe\xff" else body[:2]
            fmt = tag + body[2:16]
        if kind == b"data":
            return fmt, body
        at += 8 + size + size % 2


def chunk(kind, body):
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def riff(*chunks):
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def short(wav):
    """A fmt chunk of 16 bytes, whatever the codec."""
    fmt, data = parts(wav)
    return riff(chunk(b"fmt ", fmt), chunk(b"data", data))


def long(wav):
    """A fmt chunk of 20 bytes, with two of an extension that nobody asked for."""
    fmt, data = parts(wav)
    return riff(chunk(b"fmt ", fmt + b"\x02\0\0\0"), chunk(b"data", data))


def extensible(wav):
    fmt, data = parts(wav)
    tag, channels = struct.unpack_from("<HH", fmt)
    bits = struct.unpack_from("<H", fmt, 14)[0]
    extension = struct.pack("<HHIH", 22, bits, (1 << channels) - 1, tag) + GUID
    return riff(chunk(b"fmt ", b"\xfe\xff" + fmt[2:] + extension), chunk(b"data", data))


def bw64(wav):
    fmt, data = parts(wav)
    sizes = struct.pack("<QQQI", len(data) + 100, len(data), 0, 0)
    head = b"BW64\xff\xff\xff\xffWAVE" + chunk(b"ds64", sizes) + chunk(b"fmt ", fmt)
    return head + b"data\xff\xff\xff\xff" + data


def big_endian(wav):
    """RIFX: everything in the other order."""
    fmt, data = parts(wav)
    turned = struct.pack(">HHIIHH", *struct.unpack("<HHIIHH", fmt))
    samples = struct.pack(f">{len(data) // 2}h", *struct.unpack(f"<{len(data) // 2}h", data))
    body = b"WAVEfmt " + struct.pack(">I", 16) + turned + b"data" + struct.pack(">I", len(samples)) + samples
    return b"RIFX" + struct.pack(">I", len(body)) + body


def four_bytes(low):
    """24 bits in four bytes: in the low three, with their sign above, or in the high three."""

    def write(wav):
        fmt, data = parts(wav)
        tag, channels, rate = struct.unpack_from("<HHI", fmt)
        samples = []
        for at in range(0, len(data), 3):
            three = data[at : at + 3]
            samples.append(three + (b"\xff" if three[2] & 0x80 else b"\0") if low else b"\0" + three)
        frame = 4 * channels
        fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, 24)
        return riff(chunk(b"fmt ", fmt), chunk(b"data", b"".join(samples)))

    return write


def checksum(page):
    """RFC 3533: CRC-32 of polynomial 0x04c11db7, not reflected, from 0."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def granules(change):
    """Ogg with other times on its pages."""

    def write(ogg):
        out, at = b"", 0
        while at < len(ogg):
            segments = ogg[at + 26]
            end = at + 27 + segments + sum(ogg[at + 27 : at + 27 + segments])
            page = bytearray(ogg[at:end])
            position = struct.unpack_from("<Q", page, 6)[0]
            struct.pack_into("<Q", page, 6, change(position))
            struct.pack_into("<I", page, 22, 0)
            struct.pack_into("<I", page, 22, checksum(page))
            out, at = out + page, end
        return out

    return write
