//! What the fuzz targets share.

use std::ops::ControlFlow;
use std::sync::Once;

use speaker_core::audio::{decode_spans, from_bytes, probe, Limits, Span};
use speaker_core::never;

#[path = "../../../../tests/fuzz/src/parts.rs"]
#[allow(dead_code, reason = "only its checksums are used here")]
mod parts;

/// Decodes and probes bytes, which are given the marks of a container first: the fuzzer shall not spend its time on
/// finding them.
pub fn decode(bytes: &[u8], marks: &[(usize, &[u8])]) {
    // libFuzzer's hook ends the process on any panic. Those of the libraries are caught and become errors.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));

    let mut bytes = bytes.to_vec();
    for (at, mark) in marks {
        if let Some(place) = bytes.get_mut(*at..at + mark.len()) {
            place.copy_from_slice(mark);
        }
    }
    if bytes.starts_with(b"OggS") {
        parts::fix_checksums(&mut bytes);
    }
    let limits = Limits { max_seconds: 120.0, ..Limits::default() };
    let spans = [Span::new(None, None), Span::new(Some(0.1), Some(0.5))].map(|span| span.expect("valid"));
    let _ = probe(from_bytes(bytes.clone()), &limits, &never);
    let _ = decode_spans(from_bytes(bytes), &spans, &limits, &never, &mut |_, _| ControlFlow::Continue(()));
}
