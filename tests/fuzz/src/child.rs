//! Decodes inputs from standard input, one after the other, within limits that the system enforces.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use nix::sys::resource::{setrlimit, Resource};
use speaker_core::audio::{decode_spans, from_bytes, probe, AudioError, Limits, Span};
use speaker_core::never;

/// More address space than any small file is worth. An allocation beyond it aborts.
const MOST_BYTES: u64 = 768 << 20;

pub fn run() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_AS, MOST_BYTES, MOST_BYTES)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // Panics of the libraries are caught; their reports would fill the log.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let mut length = [0; 4];
        if input.read_exact(&mut length).is_err() {
            return Ok(());
        }
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut bytes)?;
        let caught = decode(&bytes);
        writeln!(output, "{caught} {}", high_water()?)?;
        output.flush()?;
    }
}

/// Whether a library panicked.
fn decode(bytes: &[u8]) -> bool {
    let limits = Limits { max_seconds: 600.0, ..Limits::default() };
    let spans = [Span::new(None, None), Span::new(Some(0.2), Some(0.9)), Span::new(Some(1.0), None)]
        .map(|span| span.expect("valid"));
    let probed = probe(from_bytes(bytes.to_vec()), &limits, &never).err();
    let mut sink = |_, _| ControlFlow::Continue(());
    let decoded = decode_spans(from_bytes(bytes.to_vec()), &spans, &limits, &never, &mut sink).err();
    [probed, decoded].iter().flatten().any(|error| matches!(error, AudioError::Decoder { .. }))
}

/// The most memory that this process has had, in KiB.
fn high_water() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0))
}
