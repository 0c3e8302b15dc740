//! Settings as SQL reads them: `current_setting` knows them only once the library is loaded.

use pgrx::prelude::*;

use crate::settings;

#[pg_extern(stable, parallel_safe)]
fn speaker_default_model() -> String {
    settings::default_model()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_collection() -> Option<String> {
    settings::collection()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_max_attempts() -> i32 {
    settings::max_attempts()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_retry_delay_s() -> i32 {
    settings::retry_delay()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_min_speech_to_match() -> f64 {
    settings::min_speech_to_match()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_min_speech_to_confirm() -> f64 {
    settings::min_speech_to_confirm()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_min_speech_to_create() -> f64 {
    settings::min_speech_to_create()
}

#[pg_extern(stable, parallel_safe)]
fn speaker_confirm_automatic_labels() -> bool {
    settings::confirm_automatic_labels()
}

extension_sql!(
    r#"
COMMENT ON FUNCTION speaker_default_model() IS 'The setting speaker.default_model.';
COMMENT ON FUNCTION speaker_collection() IS 'The setting speaker.collection; NULL where it is empty.';
COMMENT ON FUNCTION speaker_max_attempts() IS 'The setting speaker.max_attempts.';
COMMENT ON FUNCTION speaker_retry_delay_s() IS 'The setting speaker.retry_delay, in seconds.';
COMMENT ON FUNCTION speaker_min_speech_to_match() IS 'The setting speaker.min_speech_to_match.';
COMMENT ON FUNCTION speaker_min_speech_to_confirm() IS 'The setting speaker.min_speech_to_confirm.';
COMMENT ON FUNCTION speaker_min_speech_to_create() IS 'The setting speaker.min_speech_to_create.';
COMMENT ON FUNCTION speaker_confirm_automatic_labels() IS 'The setting speaker.confirm_automatic_labels.';
"#,
    name = "settings_comments",
    requires = [
        speaker_default_model,
        speaker_collection,
        speaker_max_attempts,
        speaker_retry_delay_s,
        speaker_min_speech_to_match,
        speaker_min_speech_to_confirm,
        speaker_min_speech_to_create,
        speaker_confirm_automatic_labels
    ],
);
