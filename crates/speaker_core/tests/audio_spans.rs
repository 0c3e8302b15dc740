//! Spans cut out of one pass over the source.

mod audio_support;

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use audio_support::{decode, decode_within, pcm16, sample, span, speech, to_f32, whole, Wav};
use speaker_core::audio::{self, AudioError, Limits, MediaSource, Span, SpanError};
use speaker_core::never;

const FILES: [&str; 6] =
    ["speech.wav", "speech_mulaw.wav", "speech_stereo.mp3", "speech_stereo.m4a", "speech_stereo.ogg", "speech.flac"];

#[test]
fn a_span_alone_equals_the_span_in_a_batch() {
    let spans =
        [span(1.0, 1.2), span(0.2, 0.9), span(0.0, 0.01), whole(), span(0.5, 0.6), span(0.2, 0.9), span(0.333, 1.4567)];
    for file in FILES {
        let (batch, result) = decode_within(sample(file), &spans, &Limits::default());
        assert_eq!((result, batch.len()), (Ok(()), spans.len()), "{file}");
        for (index, audio) in batch {
            let (alone, result) = decode_within(sample(file), &spans[index..=index], &Limits::default());
            assert_eq!(result, Ok(()));
            // f32 bits: neither sample is NaN, and zeros of either sign would be a difference in work done.
            let bits = |audio: &audio::Mono16k| audio.samples().iter().map(|s| s.to_bits()).collect::<Vec<_>>();
            let (alone, batch) = (alone[0].1.as_ref().unwrap(), audio.as_ref().unwrap());
            assert!(bits(alone) == bits(batch), "{file}, span {index}");
        }
    }
}

#[test]
fn a_span_is_that_part_of_the_whole() {
    for file in FILES {
        let all = decode(sample(file)).unwrap();
        let (out, _) = decode_within(sample(file), &[span(0.25, 0.75)], &Limits::default());
        assert!(out[0].1.as_ref().unwrap().samples() == &all[4_000..12_000], "{file}");
    }
}

#[test]
fn ends_beyond_the_audio() {
    let to_the_end = Span::new(Some(1.25), None).unwrap();
    let spans = [span(1.0, 2.49), span(1.0, 2.51), span(1.5, 1.55), span(8.0, 9.0), to_the_end, span(0.0, 1.5)];
    let (out, result) = decode_within(sample("speech.wav"), &spans, &Limits::default());
    assert_eq!(result, Ok(()));
    let mut lengths: Vec<_> =
        out.into_iter().map(|(index, audio)| (index, audio.map(|audio| audio.samples().len()))).collect();
    lengths.sort_by_key(|(index, _)| *index);
    let beyond = |start_s, end_s| Err(SpanError::BeyondEnd { start_s, end_s: Some(end_s), audio_s: 1.5 });
    let wanted = [
        (0, Ok(8_000)),
        (1, beyond(1.0, 2.51)),
        (2, beyond(1.5, 1.55)),
        (3, beyond(8.0, 9.0)),
        (4, Ok(4_000)),
        (5, Ok(24_000)),
    ];
    assert_eq!(lengths, wanted);
}

/// A source that counts the bytes read from it.
struct Counting {
    inner: io::Cursor<Vec<u8>>,
    read: Arc<AtomicU64>,
    /// Byte position at which reading fails.
    fails_at: u64,
    seekable: bool,
}

impl Counting {
    fn new(bytes: Vec<u8>) -> (Box<Self>, Arc<AtomicU64>) {
        let read = Arc::new(AtomicU64::new(0));
        let inner = io::Cursor::new(bytes);
        (Box::new(Self { inner, read: read.clone(), fails_at: u64::MAX, seekable: true }), read)
    }
}

impl Read for Counting {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.inner.position() + buf.len() as u64 > self.fails_at {
            return Err(io::Error::other("the disk is on fire"));
        }
        let n = self.inner.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if !self.seekable {
            return Err(io::Error::other("a pipe"));
        }
        self.inner.seek(to)
    }
}

impl MediaSource for Counting {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then(|| self.inner.get_ref().len() as u64)
    }
}

/// Ten minutes of 8 kHz: 9.6 MB.
fn long_wav() -> Vec<u8> {
    Wav::pcm16(8_000, 1, &pcm16(&speech().repeat(200))).bytes()
}

#[test]
fn decoding_stops_after_the_last_span() {
    let (source, read) = Counting::new(long_wav());
    let mut count = 0;
    let mut sink = |_, _| {
        count += 1;
        ControlFlow::Continue(())
    };
    let spans = [span(2.0, 3.0), span(0.0, 1.0)];
    audio::decode_spans(source, &spans, &Limits::default(), &never, &mut sink).unwrap();
    assert_eq!(count, 2);
    let read = read.load(Ordering::Relaxed);
    assert!(read < 300_000, "read {read} bytes for three seconds of 16 kB each");
}

#[test]
fn the_sink_stops_decoding() {
    let (source, read) = Counting::new(long_wav());
    let mut sink = |_, _| ControlFlow::Break(());
    let spans = [span(0.0, 1.0), whole()];
    assert_eq!(audio::decode_spans(source, &spans, &Limits::default(), &never, &mut sink), Ok(()));
    assert!(read.load(Ordering::Relaxed) < 300_000);
}

#[test]
fn no_spans_cost_nothing() {
    assert_eq!(decode_within(sample("speech.wav"), &[], &Limits::default()), (Vec::new(), Ok(())));
}

#[test]
fn the_callers_check_interrupts() {
    for file in FILES {
        let asked = Cell::new(0);
        let check = || {
            asked.set(asked.get() + 1);
            if asked.get() > 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let mut sink = |_, _| panic!("nothing is complete");
        let limits = Limits::default();
        let source = || audio::from_bytes(sample(file));
        let decoded = audio::decode_spans(source(), &[whole()], &limits, &check, &mut sink);
        assert_eq!(decoded, Err(AudioError::Interrupted), "{file}");
        assert_eq!(asked.get(), 4);
        assert_eq!(audio::probe(source(), &limits, &check), Err(AudioError::Interrupted), "{file}");
    }
}

#[test]
fn a_pipe_is_read_into_memory() {
    let pipe = || {
        let (mut source, _) = Counting::new(sample("speech_alac.m4a"));
        source.seekable = false;
        source
    };
    let mut samples: Vec<f32> = Vec::new();
    let mut sink = |_, audio: Result<audio::Mono16k, SpanError>| {
        samples.extend(audio.unwrap().samples());
        ControlFlow::Continue(())
    };
    audio::decode_spans(pipe(), &[whole()], &Limits::default(), &never, &mut sink).unwrap();
    assert!(samples == to_f32(&speech()));
    let limits = Limits { max_bytes: 20_000, ..Limits::default() };
    let refused = audio::probe(pipe(), &limits, &never);
    assert!(matches!(refused, Err(AudioError::TooLarge { got: 20_001.., max: 20_000 })), "{refused:?}");
}

#[test]
fn errors_of_the_source_are_told() {
    let files = ["speech.wav", "speech.flac", "speech_stereo.mp3", "speech_stereo.m4a", "speech_alac.m4a"];
    for file in files.into_iter().chain(["speech_stereo.ogg", "speech.webm", "speech.aiff", "speech.aac"]) {
        let bytes = sample(file);
        for part in 0..10 {
            let fails_at = bytes.len() as u64 * part / 10;
            let source = || {
                let (mut source, _) = Counting::new(bytes.clone());
                source.fails_at = fails_at;
                source
            };
            let mut sink = |_, _| ControlFlow::Continue(());
            let decoded = audio::decode_spans(source(), &[whole()], &Limits::default(), &never, &mut sink);
            let detail = "the disk is on fire".to_owned();
            assert_eq!(decoded, Err(AudioError::Io { detail }), "{file}, failing at byte {fails_at}");
        }
    }
}

/// The caller's own unwinding, raised in its source beneath the demultiplexer, is not ours to swallow.
#[test]
fn the_callers_unwinding_passes_through() {
    struct Cancelled;
    struct Source(Box<dyn MediaSource>, u64);
    impl Read for Source {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1 > 12 {
                std::panic::resume_unwind(Box::new(Cancelled));
            }
            let short = buf.len().min(4096);
            self.0.read(&mut buf[..short])
        }
    }
    impl Seek for Source {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    impl MediaSource for Source {
        fn is_seekable(&self) -> bool {
            true
        }
        fn byte_len(&self) -> Option<u64> {
            self.0.byte_len()
        }
    }
    let unwound = std::panic::catch_unwind(|| {
        let source = Box::new(Source(audio::from_bytes(long_wav()), 0));
        audio::probe(source, &Limits::default(), &never)
    });
    assert!(unwound.expect_err("must unwind").is::<Cancelled>());
}
