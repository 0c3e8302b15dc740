//! Files as recorders write them: odd headers, other byte orders, cuts, wrong times, several tracks. All are made here.

mod audio_support;

use audio_support::{decode, pcm16, probe, sample, speech, to_f32, Wav};
use speaker_core::audio::AudioError;

/// A box of MP4.
fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(8 + body.len() as u32).to_be_bytes()[..], kind, &body].concat()
}

fn be(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A track of raw samples in a QuickTime film.
struct Track {
    kind: [u8; 4],
    bits: u16,
    channels: u16,
    /// What follows the fields of its description.
    more: Vec<u8>,
    data: Vec<u8>,
    /// Length in ticks of 1/1000 s, start in frames.
    edits: Vec<(u32, i32)>,
}

impl Track {
    fn new(kind: &[u8; 4], bits: u16, data: Vec<u8>) -> Self {
        Self { kind: *kind, bits, channels: 1, more: Vec::new(), data, edits: Vec::new() }
    }
}

/// A film of tracks at 16 kHz, in chunks of 1000 frames; the samples of the tracks take turns.
fn film(tracks: &[Track]) -> Vec<u8> {
    let kind = boxed(b"ftyp", &[b"qt  ", &[0; 4]]);
    let mut media = Vec::new();
    let mut offsets = vec![Vec::new(); tracks.len()];
    let frame = |track: &Track| usize::from(track.bits.div_ceil(8) * track.channels);
    for turn in 0.. {
        let before = media.len();
        for (track, offsets) in tracks.iter().zip(&mut offsets) {
            let size = 1000 * frame(track);
            if let Some(chunk) = track.data.get(turn * size..track.data.len().min((turn + 1) * size)) {
                if !chunk.is_empty() {
                    offsets.push((kind.len() + 8 + media.len()) as u32);
                    media.extend(chunk);
                }
            }
        }
        if media.len() == before {
            break;
        }
    }
    let boxes = tracks.iter().zip(&offsets).zip(1u32..).map(|((track, offsets), id)| {
        let frames = (track.data.len() / frame(track)) as u32;
        let fields = [0, track.channels, track.bits, 0, 0].map(u16::to_be_bytes).concat();
        let entry = boxed(&track.kind, &[&[0; 6], &[0, 1], &[0; 6], &fields, &be(&[16_000 << 16]), &track.more]);
        let tables = [
            boxed(b"stsd", &[&be(&[0, 1]), &entry]),
            boxed(b"stts", &[&be(&[0, 1, frames, 1])]),
            boxed(b"stsc", &[&be(&[0, 1, 1, 1000, 1])]),
            boxed(b"stsz", &[&be(&[0, frame(track) as u32, frames])]),
            boxed(b"stco", &[&be(&[0, offsets.len() as u32]), &be(offsets)]),
        ];
        let header = boxed(b"mdhd", &[&be(&[0, 0, 0, 16_000, frames, 0])]);
        let handler = boxed(b"hdlr", &[&be(&[0, 0]), b"soun", &[0; 12], &[0]]);
        let minf = boxed(b"minf", &[&boxed(b"smhd", &[&[0; 8]]), &boxed(b"stbl", &[&tables.concat()])]);
        let list: Vec<u8> =
            track.edits.iter().flat_map(|&(ticks, start)| be(&[ticks, start as u32, 1 << 16])).collect();
        let edits = boxed(b"edts", &[&boxed(b"elst", &[&be(&[0, track.edits.len() as u32]), &list])]);
        let head = boxed(b"tkhd", &[&be(&[7, 0, 0, id, 0, frames / 16]), &[0; 60]]);
        boxed(b"trak", &[&head, &edits, &boxed(b"mdia", &[&header, &handler, &minf])])
    });
    let movie = boxed(b"mvhd", &[&be(&[0, 0, 0, 1000, 0]), &[0; 80]]);
    let movie = boxed(b"moov", &[&movie, &boxes.collect::<Vec<_>>().concat()]);
    [kind, boxed(b"mdat", &[&media]), movie].concat()
}

fn samples_be(samples: &[i16], width: usize) -> Vec<u8> {
    samples.iter().flat_map(|&s| (i64::from(s) << 48).to_be_bytes()[..width].to_vec()).collect()
}

fn samples_le(samples: &[i16], width: usize) -> Vec<u8> {
    samples.iter().flat_map(|&s| (i64::from(s) << 48).to_le_bytes()[8 - width..].to_vec()).collect()
}

#[test]
fn quicktime_has_its_own_byte_orders() {
    let samples = speech();
    let sound = to_f32(&samples);
    let floats = |big: bool| -> Vec<u8> {
        sound.iter().flat_map(|s| if big { s.to_be_bytes() } else { s.to_le_bytes() }).collect()
    };
    let doubles: Vec<u8> = sound.iter().flat_map(|&s| f64::from(s).to_be_bytes()).collect();
    let little = boxed(b"wave", &[&boxed(b"frma", &[b"in24"]), &boxed(b"enda", &[&[0, 1]])]);
    let big = boxed(b"wave", &[&boxed(b"enda", &[&[0, 0]])]);
    for (codec, kind, bits, data, more) in [
        ("pcm_s16be", b"twos", 16, samples_be(&samples, 2), vec![]),
        ("pcm_s16le", b"sowt", 16, samples_le(&samples, 2), vec![]),
        ("pcm_s24be", b"in24", 24, samples_be(&samples, 3), vec![]),
        ("pcm_s24be", b"in24", 24, samples_be(&samples, 3), big.clone()),
        ("pcm_s24le", b"in24", 24, samples_le(&samples, 3), little.clone()),
        ("pcm_s24le", b"in24", 24, samples_le(&samples, 3), boxed(b"enda", &[&[0, 1]])),
        ("pcm_s32be", b"in32", 32, samples_be(&samples, 4), vec![]),
        ("pcm_s32le", b"in32", 32, samples_le(&samples, 4), little.clone()),
        ("pcm_f32be", b"fl32", 32, floats(true), vec![]),
        ("pcm_f32le", b"fl32", 32, floats(false), little.clone()),
        ("pcm_f64be", b"fl64", 64, doubles, vec![]),
        ("pcm_s16le", b"ipcm", 16, samples_le(&samples, 2), boxed(b"pcmC", &[&[0, 0, 0, 0, 1, 16]])),
    ] {
        let file = film(&[Track { more, ..Track::new(kind, bits, data) }]);
        let info = probe(file.clone()).unwrap_or_else(|error| panic!("{codec}: {error}"));
        assert_eq!((&*info.codec, info.duration_s, info.channels), (codec, 1.5, 1));
        assert!(decode(file).unwrap() == sound, "{codec}");
    }
    // Eight bits are signed, but for 'raw '.
    let signed: Vec<u8> = samples.iter().map(|&s| (s >> 8) as u8).collect();
    let unsigned: Vec<u8> = signed.iter().map(|&s| s.wrapping_add(128)).collect();
    for (codec, kind, data) in
        [("pcm_s8", b"twos", signed.clone()), ("pcm_s8", b"sowt", signed), ("pcm_u8", b"raw ", unsigned)]
    {
        let file = film(&[Track::new(kind, 8, data)]);
        assert_eq!(probe(file.clone()).unwrap().codec, codec);
        let close = decode(file).unwrap().iter().zip(&sound).all(|(a, b)| (a - b).abs() <= 1.0 / 128.0);
        assert!(close, "{codec} in {}", String::from_utf8_lossy(kind));
    }
    // More channels than two.
    let six: Vec<i16> = samples.iter().flat_map(|&s| [s; 6]).collect();
    let file = film(&[Track { channels: 6, ..Track::new(b"twos", 16, samples_be(&six, 2)) }]);
    assert_eq!(probe(file.clone()).unwrap().channels, 6);
    let close = decode(file).unwrap().iter().zip(&sound).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close, "six channels");
}

#[test]
fn edit_lists_are_kept_to() {
    let samples = speech();
    let sound = to_f32(&samples);
    let cut =
        |edits: &[(u32, i32)]| film(&[Track { edits: edits.to_vec(), ..Track::new(b"sowt", 16, pcm16(&samples)) }]);
    let file = cut(&[(500, 0), (400, 16_000)]);
    // A tick more at the end: some writers round down.
    let wanted = [&sound[..8_000], &sound[16_000..22_416]].concat();
    assert!(decode(file.clone()).unwrap() == wanted, "the middle is cut out");
    assert!((probe(file).unwrap().duration_s - 0.901).abs() < 1e-9);
    let file = cut(&[(250, -1), (100, 0), (300, -1), (100, 3_200), (100, 6_400), (100, 9_600), (100, 12_800)]);
    let wanted = [0, 3_200, 6_400, 9_600].map(|at| &sound[at..at + 1_600]).concat();
    assert!(decode(file).unwrap() == [&wanted[..], &sound[12_800..14_416]].concat(), "five stretches and two pauses");
    let refused = |edits: &[(u32, i32)]| match (probe(cut(edits)), decode(cut(edits))) {
        (Err(told), Err(heard)) if told == heard => told,
        other => panic!("{edits:?}: {other:?}"),
    };
    let detail = "that repeats sound or brings it in another order".to_owned();
    assert_eq!(refused(&[(500, 8_000), (500, 0)]), AudioError::UnsupportedEdits { detail });
    assert_eq!(refused(&[(500, -1)]), AudioError::NoSamples);
}

#[test]
fn the_first_track_that_is_not_silent() {
    let samples = speech();
    let sound = to_f32(&samples);
    let track = |samples: &[i16]| Track::new(b"sowt", 16, pcm16(samples));
    let (voice, silence) = (track(&samples), track(&vec![0; 24_000]));
    let hiss: Vec<i16> = (0..24_000).map(|n| if n % 2 == 0 { 30 } else { -30 }).collect();
    let told = |file: &[u8]| probe(file.to_vec()).map(|info| (info.tracks, info.track)).unwrap();
    let file = film(&[silence, track(&hiss), voice]);
    assert_eq!(told(&file), (3, 3));
    assert!(decode(file).unwrap() == sound, "silence, and hiss below -60 dB");
    let file = film(&[track(&vec![0; 24_000]), track(&hiss)]);
    assert_eq!(told(&file), (2, 1), "all are silent");
    assert!(decode(file).unwrap().iter().all(|&sample| sample == 0.0));
    let file = film(&[track(&samples), track(&hiss)]);
    assert_eq!(told(&file), (2, 1));
    // A track that is not read does not hide one that is.
    let file = film(&[Track::new(b"ima4", 16, pcm16(&hiss)), track(&samples)]);
    assert_eq!(told(&file), (2, 2));
    assert!(decode(file).unwrap() == sound);
}

#[test]
fn wav_is_read_by_its_fields() {
    let samples = speech();
    let sound = to_f32(&samples);
    let data = pcm16(&samples);
    let plain = Wav::pcm16(16_000, 1, &data).bytes();
    let with_fmt = |fmt: &[u8], data: &[u8]| {
        let head = [b"RIFF\xff\xff\xff\xffWAVEfmt ", &(fmt.len() as u32).to_le_bytes()[..], fmt].concat();
        [&head[..], b"data", &(data.len() as u32).to_le_bytes(), data].concat()
    };
    let fmt = &plain[20..36];
    for more in [0, 2, 4, 10, 24, 100] {
        let long = [fmt, &vec![0; more]].concat();
        assert!(decode(with_fmt(&long, &data)).unwrap() == sound, "fmt of {} bytes", long.len());
    }
    // A-law and mu-law: the same whatever the header looks like.
    for (file, tag) in [("speech_alaw.wav", 6u16), ("speech_mulaw.wav", 7)] {
        let original = sample(file);
        let at = original.windows(4).position(|kind| kind == b"data").unwrap();
        let data = &original[at + 8..];
        let law = |extensible| Wav { tag, bits: 8, rate: 8_000, channels: 1, extensible, data, declared: None }.bytes();
        let wanted = decode(original.clone()).unwrap();
        assert!(decode(law(true)).unwrap() == wanted, "{file}, extensible");
        assert!(decode(with_fmt(&law(false)[20..36], data)).unwrap() == wanted, "{file}, fmt of 16 bytes");
    }
    // 24 bits in 4 bytes: in the low ones, with their sign above, or in the high ones.
    let low: Vec<u8> = samples.iter().flat_map(|&s| (i32::from(s) << 8).to_le_bytes()).collect();
    let high: Vec<u8> = samples.iter().flat_map(|&s| (i32::from(s) << 16).to_le_bytes()).collect();
    let fmt = [
        &1u16.to_le_bytes()[..],
        &1u16.to_le_bytes(),
        &16_000u32.to_le_bytes(),
        &64_000u32.to_le_bytes(),
        &[4, 0, 24, 0],
    ]
    .concat();
    for (what, data) in [("low", low), ("high", high)] {
        assert!(decode(with_fmt(&fmt, &data)).unwrap() == sound, "24 bits in the {what} bytes");
        assert_eq!(probe(with_fmt(&fmt, &data)).unwrap().duration_s, 1.5);
    }
}

#[test]
fn other_headers_of_raw_samples() {
    let samples = speech();
    let sound = to_f32(&samples);
    let (le, big) = (pcm16(&samples), samples_be(&samples, 2));
    let size = (big.len() as u32).to_be_bytes();
    let au = |size: [u8; 4]| [b".snd", &be(&[28])[..], &size, &be(&[3, 16_000, 1, 0]), &big].concat();
    let desc = |flags| [&16_000f64.to_be_bytes()[..], b"lpcm", &be(&[flags, 2, 1, 1, 16])].concat();
    let caf = |flags, size: i64, data: &[u8]| {
        [b"caff\0\x01\0\0desc", &32u64.to_be_bytes()[..], &desc(flags), b"data", &size.to_be_bytes(), &[0; 4], data]
            .concat()
    };
    let guid = |kind: &[u8; 4], size: usize| {
        [kind, &b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"[..], &(size as u64 + 24).to_le_bytes()].concat()
    };
    let fmt = Wav::pcm16(16_000, 1, &le).bytes()[20..36].to_vec();
    let w64 = [
        &b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"[..],
        &[0; 8],
        b"wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a",
        &guid(b"fmt ", 16),
        &fmt,
        &guid(b"data", le.len()),
        &le,
    ]
    .concat();
    let number = |n: u32| n.to_be_bytes();
    let rifx = [
        &b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10\0\x01\0\x01"[..],
        &number(16_000),
        &number(32_000),
        b"\0\x02\0\x10data",
        &size,
        &big,
    ]
    .concat();
    for (container, codec, file) in [
        ("au", "pcm_s16be", au(size)),
        ("au", "pcm_s16be", au([0xff; 4])),
        ("caf", "pcm_s16be", caf(0, 4 + big.len() as i64, &big)),
        ("caf", "pcm_s16le", caf(2, -1, &le)),
        ("w64", "pcm_s16le", w64),
        ("wav", "pcm_s16be", rifx),
    ] {
        let info = probe(file.clone()).unwrap_or_else(|error| panic!("{container}: {error}"));
        assert_eq!((&*info.container, &*info.codec, info.duration_s), (container, codec, 1.5));
        assert!(decode(file).unwrap() == sound, "{container}");
    }
    let cut = au(size)[..28 + 32_000].to_vec();
    assert_eq!(decode(cut), Err(AudioError::Truncated { declared_s: 1.5, got_s: 1.0 }));
}

/// The pages of an Ogg file.
fn pages(ogg: &[u8]) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    let mut rest = ogg;
    while !rest.is_empty() {
        let segments = usize::from(rest[26]);
        let size = 27 + segments + rest[27..27 + segments].iter().map(|&lace| usize::from(lace)).sum::<usize>();
        let (page, behind) = rest.split_at(size);
        pages.push(page.to_vec());
        rest = behind;
    }
    pages
}

/// Writes another granule position to every page.
fn with_times(ogg: &[u8], change: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut pages = pages(ogg);
    for page in &mut pages {
        let position = u64::from_le_bytes(page[6..14].try_into().unwrap());
        page[6..14].copy_from_slice(&change(position).to_le_bytes());
        page[22..26].fill(0);
        let crc = page.iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
    }
    pages.concat()
}

#[test]
fn wrong_times_in_ogg_take_nothing_away() {
    for (file, packet_s) in
        [("speech.opus", 0.02), ("speech_60ms.opus", 0.06), ("speech.ogg", 0.07), ("speech_stereo.ogg", 0.05)]
    {
        let right = decode(sample(file)).unwrap();
        for (what, change) in [
            ("a third", (|position| position / 3) as fn(u64) -> u64),
            ("half", |position| position / 2),
            ("none", |_| 0),
            ("far ahead", |position| position * 5),
        ] {
            let wrong = with_times(&sample(file), change);
            let heard = decode(wrong.clone()).unwrap();
            // The filter to 16 kHz hears what comes behind the last samples.
            let same = right.len() - 800;
            let equal = heard.iter().zip(&right[..same]).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(heard.len() >= right.len() && equal, "{file}, {what}: {} samples", heard.len());
            // Padding that is not told stays: less than a packet.
            let longer = (heard.len() - right.len()) as f64 / 16_000.0;
            assert!(longer < packet_s, "{file}, {what}: {longer} s longer");
            assert!((probe(wrong).unwrap().duration_s - heard.len() as f64 / 16_000.0).abs() < 1e-4, "{file}, {what}");
        }
    }
}

#[test]
fn what_is_known_and_not_read_has_its_name() {
    let samples = [0; 4_000];
    for (kind, name) in [
        (b"ima4", "ima4"),
        (b"ac-3", "ac3"),
        (b"ec-3", "eac3"),
        (b"samr", "amr"),
        (b"sawb", "amr-wb"),
        (b"QDM2", "qdesign2"),
        (b"dtsc", "dts"),
        (b"xyz1", "xyz1"),
    ] {
        let file = film(&[Track::new(kind, 16, samples.to_vec())]);
        match probe(file) {
            Err(AudioError::UnsupportedCodec { codec }) => assert!(codec.contains(name), "{codec}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    for (tag, name) in
        [(0x31, "gsm"), (0x45, "adpcm_g726"), (0x161, "wma"), (0x2000, "ac3"), (0x7777, "of wav format 0x7777")]
    {
        let file = Wav { tag, bits: 4, ..Wav::pcm16(8_000, 1, &samples.map(|s: u8| s)) }.bytes();
        assert_eq!(decode(file), Err(AudioError::UnsupportedCodec { codec: name.to_owned() }));
    }
    let stream: Vec<u8> = (0..10).flat_map(|_| [&[0x47][..], &[0xff; 187]].concat()).collect();
    let ac3: Vec<u8> = (0..3).flat_map(|_| [&b"\x0b\x77"[..], &[0x55; 700]].concat()).collect();
    for (start, name) in [
        (&b"#!AMR\n\x3c\x91"[..], "amr"),
        (b"#!AMR-WB\n", "amr-wb"),
        (b"\x02#!SILK_V3", "silk"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "asf (wma)"),
        (b"wvpk\x10\0\0\0", "wavpack"),
        (b"MAC \x96\x0f", "monkey's audio"),
        (b"TTA1\x01\0", "tta"),
        (b"MPCKSH", "musepack"),
        (b"DSD \x1c\0\0\0", "dsf"),
        (b"MThd\0\0\0\x06", "midi"),
        (b"FLV\x01\x05", "flv"),
        (b".RMF\0\0\0\x12", "realmedia"),
        (b"RIFF\x10\0\0\0AVI LIST", "avi"),
        (b"FORM\0\0\0\x108SVXVHDR", "8svx"),
        (b"NIST_1A\n   1024\n", "nist sphere"),
        (&stream, "mpeg-ts"),
        (&ac3, "ac3"),
    ] {
        let refused = probe(start.to_vec());
        assert!(
            matches!(&refused, Err(AudioError::UnsupportedContainer { container }) if *container == name),
            "{refused:?}"
        );
    }
}

#[test]
fn codecs_of_matroska_are_named() {
    let original = sample("speech.mkv");
    let at = original.windows(5).position(|name| name == b"A_AAC").unwrap();
    let mut file = original;
    file[at..at + 5].copy_from_slice(b"A_XYZ");
    assert_eq!(probe(file.clone()), Err(AudioError::UnsupportedCodec { codec: "xyz".into() }));
    file[at..at + 5].copy_from_slice(b"A_DTS");
    assert_eq!(probe(file), Err(AudioError::UnsupportedCodec { codec: "dts".into() }));
}
