//! What core keeps of a recording does not grow with it: the heap that decoding hours takes.

mod audio_support;
mod heap_support;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use audio_support::{sample, span};
use heap_support::heap;
use speaker_core::audio::{decode_spans, probe, Limits, MediaSource};
use speaker_core::never;

/// A file over and over: hours of audio that are nowhere in memory.
struct Looped {
    body: Vec<u8>,
    times: u64,
    pos: u64,
}

impl Looped {
    fn len(&self) -> u64 {
        self.body.len() as u64 * self.times
    }
}

impl Read for Looped {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.pos >= self.len() {
            return Ok(0);
        }
        let rest = &self.body[(self.pos % self.body.len() as u64) as usize..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.pos += n as u64;
        Ok(n)
    }
}

impl Seek for Looped {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.pos = match to {
            SeekFrom::Start(pos) => pos,
            SeekFrom::End(by) => self.len().saturating_add_signed(by),
            SeekFrom::Current(by) => self.pos.saturating_add_signed(by),
        };
        Ok(self.pos)
    }
}

impl MediaSource for Looped {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}

/// Minutes of a file of a second and a half, joined to one.
fn looped(name: &str, minutes: u64) -> Looped {
    Looped { body: sample(name), times: minutes * 40, pos: 0 }
}

// One test, for the counters are the process's.
#[test]
fn an_hour_takes_no_more_than_a_megabyte() {
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    // A chain of Ogg streams is the longest way to the same length: headers and tags every second and a half.
    for (name, minutes) in [("speech_vbr_no_xing.mp3", 60), ("speech.aac", 60), ("speech.opus", 20)] {
        let source = || Box::new(looped(name, minutes));
        let spans: Vec<_> = (0..minutes * 60 / 5).map(|n| span(n as f64 * 5.0, n as f64 * 5.0 + 3.0)).collect();
        let probed = heap(|| {
            let info = probe(source(), &limits, &never).expect(name);
            assert!(info.duration_s > minutes as f64 * 60.0 - 1.0, "{name} lasts {} s", info.duration_s);
        });
        let mut cut = 0;
        let decoded = heap(|| {
            let mut sink = |_, audio: Result<_, _>| {
                cut += usize::from(audio.is_ok());
                ControlFlow::Continue(())
            };
            decode_spans(source(), &spans, &limits, &never, &mut sink).expect(name);
        });
        println!("{name}: probing {} KiB, decoding {} KiB", probed / 1024, decoded / 1024);
        assert_eq!(cut, spans.len(), "{name}");
        assert!(probed.max(decoded) < 900 << 10, "{name}: {probed} and {decoded} bytes");
    }
}
