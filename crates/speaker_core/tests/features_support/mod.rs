//! Fixtures and golden values for tests of features and embeddings. What the values are: `tests/golden/README.md`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use speaker_core::audio::{decode_spans, from_bytes, Limits, Mono16k, Span};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn read(path: &str) -> Vec<u8> {
    let path = root().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of a golden file: npy version 1.0, little-endian f32, C order. The shape is the reader's business.
pub fn golden(name: &str) -> Vec<f32> {
    let bytes = read(&format!("crates/speaker_core/tests/golden/{name}"));
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..header]);
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{name} is npy 1.0");
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{name}: {text}");
    bytes[header..].chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

/// Stretches of a fixture, in seconds.
pub fn stretches(recording: &str, times: &[(f64, f64)]) -> Vec<Mono16k> {
    let spans: Vec<_> = times.iter().map(|(start, end)| Span::new(Some(*start), Some(*end)).unwrap()).collect();
    let mut cut = vec![None; spans.len()];
    let source = from_bytes(read(&format!("fixtures/{recording}.flac")));
    decode_spans(source, &spans, &Limits::default(), &speaker_core::never, &mut |index, audio| {
        cut[index] = Some(audio.unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    cut.into_iter().map(|audio| audio.expect("every span is answered")).collect()
}
