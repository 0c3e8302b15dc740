//! Whether all who read a file read the same: audio_info, which counts, a clip, which is one span, and an extraction, which
//! takes stretches of several spans.

use std::ops::ControlFlow;

use speaker_core::audio::{
    decode_spans, decode_stretches, from_bytes, probe, AudioError, Limits, Mono16k, Span, SpanError, SAMPLE_RATE,
};
use speaker_core::never;

type Heard = Result<Option<Result<Mono16k, SpanError>>, AudioError>;

/// What the readers do not agree on, or none.
pub fn disagreement(bytes: &[u8]) -> Option<String> {
    let limits = Limits { max_seconds: 600.0, ..Limits::default() };
    let source = || from_bytes(bytes.to_vec());
    let span = |start, end| Span::new(start, end).expect("valid");
    let told = probe(source(), &limits, &never);
    let clip = heard(|sink| decode_spans(source(), &[span(None, None)], &limits, &never, sink));
    let stretches = [
        vec![span(None, None)],
        vec![span(Some(0.1), Some(0.4)), span(Some(0.6), Some(0.9))],
        vec![span(Some(0.5), None)],
    ];
    let extraction = heard(|sink| decode_stretches(source(), &stretches, &limits, &never, sink));
    if clip != extraction {
        return Some(format!("a clip is {}, an extraction {}", outcome(&clip), outcome(&extraction)));
    }
    let agree = match (&told, &clip) {
        (Err(told), Err(heard)) => told == heard,
        (Ok(told), Ok(Some(Ok(heard)))) => {
            // A clip is rounded up to a whole sample.
            let samples = told.duration_s * f64::from(SAMPLE_RATE);
            (samples - heard.samples().len() as f64).abs() < 1.01
        }
        _ => false,
    };
    let told = told.map(|info| info.duration_s);
    (!agree).then(|| format!("audio_info says {told:?}, a clip is {}", outcome(&clip)))
}

/// What becomes of the whole file, which is the first that is asked for.
fn heard(
    decode: impl FnOnce(&mut dyn FnMut(usize, Result<Mono16k, SpanError>) -> ControlFlow<()>) -> Result<(), AudioError>,
) -> Heard {
    let mut whole = None;
    decode(&mut |index, samples| {
        if index == 0 {
            whole = Some(samples);
        }
        ControlFlow::Continue(())
    })?;
    Ok(whole)
}

fn outcome(heard: &Heard) -> String {
    match heard {
        Ok(Some(Ok(samples))) => format!("{} s", samples.seconds()),
        other => format!("{other:?}"),
    }
}
