//! Audio as users see it: what a file is, and a stretch of it to listen to.

use pgrx::prelude::*;
use speaker_core::audio::{self, AudioError, Span};

use crate::error::{raise, Report, SqlError};
use crate::extraction::decode_one;
use crate::interrupts::Interrupts;
use crate::settings;
use crate::source::{sha256, Audio, Bytea};

#[pg_extern(stable, strict, parallel_safe, cost = 10000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn audio_info(
    audio: Bytea,
) -> TableIterator<
    'static,
    (
        name!(container, String),
        name!(codec, String),
        name!(sample_rate, i32),
        name!(channels, i32),
        name!(duration_s, f64),
        name!(tracks, i32),
        name!(track, i32),
    ),
> {
    raise(|| {
        let interrupts = Interrupts::default();
        let info = Audio::Bytea(audio)
            .open(&interrupts)
            .and_then(|source| Ok(audio::probe(source, &settings::audio_limits(), &|| interrupts.check())?));
        interrupts.rethrow();
        let info = info?;
        Ok(TableIterator::once((
            info.container,
            info.codec,
            info.sample_rate as i32,
            i32::from(info.channels),
            info.duration_s,
            info.tracks as i32,
            info.track as i32,
        )))
    })
}

#[pg_extern(stable, parallel_safe, cost = 10000)]
fn audio_clip(
    audio: Option<Bytea>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    channel: default!(Option<i32>, "NULL"),
) -> Option<Vec<u8>> {
    raise(|| audio.map(|audio| clip(&Audio::Bytea(audio), start_s, end_s, channel)).transpose())
}

/// What a recording's audio is. Audio that cannot be decoded has a hash and nothing else: the ledger tells why.
#[pg_extern(stable, parallel_safe, cost = 10000)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn speaker_recording_facts(
    audio: Option<Bytea>,
    audio_lo: Option<pg_sys::Oid>,
    audio_path: Option<String>,
    named_by: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(sha256, Vec<u8>),
        name!(container, Option<String>),
        name!(codec, Option<String>),
        name!(sample_rate, Option<i32>),
        name!(channels, Option<i32>),
        name!(duration_s, Option<f64>),
    ),
> {
    raise(|| {
        let Some(audio) = Audio::of_recording(audio, audio_lo, audio_path, named_by) else {
            return Ok(TableIterator::empty());
        };
        let interrupts = Interrupts::default();
        // Opened once: both are said of the same bytes, whatever becomes of the file meanwhile.
        let facts = audio.open(&interrupts).and_then(|mut source| {
            let hash = sha256(&mut *source, &interrupts)?;
            source.rewind().map_err(AudioError::from)?;
            Ok((hash, audio::probe(source, &settings::audio_limits(), &|| interrupts.check())))
        });
        interrupts.rethrow();
        let (hash, info) = facts?;
        Ok(TableIterator::once(match info {
            Ok(info) => (
                hash,
                Some(info.container),
                Some(info.codec),
                Some(info.sample_rate as i32),
                Some(i32::from(info.channels)),
                Some(info.duration_s),
            ),
            Err(_) => (hash, None, None, None, None, None),
        }))
    })
}

#[pg_extern(stable, parallel_safe, cost = 10000)]
fn speaker_recording_clip(
    audio: Option<Bytea>,
    audio_lo: Option<pg_sys::Oid>,
    audio_path: Option<String>,
    named_by: Option<&str>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    channel: default!(Option<i32>, "NULL"),
) -> Option<Vec<u8>> {
    raise(|| {
        let audio = Audio::of_recording(audio, audio_lo, audio_path, named_by)
            .ok_or(SqlError::AudioMissing { what: "the recording's audio".to_owned() })?;
        Ok(Some(clip(&audio, start_s, end_s, channel)?))
    })
}

fn clip(audio: &Audio, start_s: Option<f64>, end_s: Option<f64>, channel: Option<i32>) -> Result<Vec<u8>, Report> {
    Ok(audio::write_wav(&decode_one(audio, Span::new(start_s, end_s)?.on_channel(channel)?)?))
}

extension_sql!(
    r#"
COMMENT ON FUNCTION audio_info(bytea) IS
    'Container, codec, sample rate (Hz), channels and real duration (seconds) of an audio file, found by its content; its audio tracks, and the one that is read (from 1): the first that is not silent.';
COMMENT ON FUNCTION audio_clip(bytea, float8, float8, int) IS
    'A stretch of a recording as a WAV file (16 kHz, mono, 16 bit), of one channel (from 1) or of the mix of all. NULL bounds mean its start and its end.';
COMMENT ON FUNCTION speaker_recording_facts(bytea, oid, text, text) IS
    'What a recording''s audio is, in its row, in a large object or in a file of the server that the caller may read, and the role named_by too: its sha256, and what audio_info() says, NULL where it cannot be decoded. No row: no audio.';
COMMENT ON FUNCTION speaker_recording_clip(bytea, oid, text, text, float8, float8, int) IS
    'A stretch of a recording as a WAV file. What is not in the row is read with the rights of the role named_by as well as the caller''s.';
"#,
    name = "audio_comments",
    requires = [audio_info, audio_clip, speaker_recording_facts, speaker_recording_clip],
);
