//! Audio as users see it: what a file is, and a stretch of it to listen to.

use pgrx::prelude::*;
use speaker_core::audio::{self, Span};

use crate::error::raise;
use crate::interrupts::Interrupts;
use crate::settings;

#[pg_extern(stable, strict, parallel_safe, cost = 10000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn audio_info(
    audio: &[u8],
) -> TableIterator<
    'static,
    (
        name!(container, String),
        name!(codec, String),
        name!(sample_rate, i32),
        name!(channels, i32),
        name!(duration_s, f64),
    ),
> {
    raise(|| {
        let interrupts = Interrupts::default();
        let info = audio::probe(audio::from_bytes(audio.to_vec()), &settings::audio_limits(), &|| interrupts.check());
        interrupts.rethrow();
        let info = info?;
        Ok(TableIterator::once((
            info.container,
            info.codec,
            info.sample_rate as i32,
            i32::from(info.channels),
            info.duration_s,
        )))
    })
}

#[pg_extern(stable, parallel_safe, cost = 10000)]
fn audio_clip(audio: Option<&[u8]>, start_s: Option<f64>, end_s: Option<f64>) -> Option<Vec<u8>> {
    raise(|| {
        let Some(audio) = audio else { return Ok(None) };
        let span = Span::new(start_s, end_s)?;
        let samples = crate::backend::decode_one(audio, span)?;
        Ok(Some(audio::write_wav(&samples)))
    })
}

extension_sql!(
    r#"
COMMENT ON FUNCTION audio_info(bytea) IS
    'Container, codec, sample rate (Hz), channels and real duration (seconds) of an audio file, found by its content.';
COMMENT ON FUNCTION audio_clip(bytea, float8, float8) IS
    'A stretch of a recording as a WAV file (16 kHz, mono, 16 bit). NULL bounds mean its start and its end.';
"#,
    name = "audio_comments",
    requires = [audio_info, audio_clip],
);
