//! A panic inside a library is an error about the source, not the end of the caller.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

use super::AudioError;

/// Runs `work`, turning a panic into [`AudioError::Decoder`].
///
/// A payload that is no text was not raised by `panic!`: it is the caller's own unwinding (its `MediaSource` runs
/// beneath the decoder and may raise an error of its own kind) and travels on untouched.
///
/// Unwind safety: after an error the stream that `work` borrowed is only dropped.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| match text(payload.as_ref()) {
        Some(detail) => AudioError::Decoder { detail },
        None => resume_unwind(payload),
    })
}

fn text(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_with_text_become_errors() {
        let fixed = guarded(|| panic!("index out of bounds"));
        assert_eq!(fixed, Err::<(), _>(AudioError::Decoder { detail: "index out of bounds".into() }));
        let n = 7;
        let built = guarded(|| panic!("capacity {n}"));
        assert_eq!(built, Err::<(), _>(AudioError::Decoder { detail: "capacity 7".into() }));
    }

    #[test]
    fn the_callers_own_unwinding_travels_on() {
        struct Cancel(u8);
        let payload = catch_unwind(|| guarded(|| std::panic::panic_any(Cancel(3)))).expect_err("must unwind");
        assert_eq!(payload.downcast_ref::<Cancel>().map(|cancel| cancel.0), Some(3));
    }
}
