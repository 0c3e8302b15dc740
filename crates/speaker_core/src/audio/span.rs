//! A stretch of time that somebody wants.

use thiserror::Error;

/// From `start_s` to `end_s`, in seconds from the start of the audio. No end means: to the end of the audio.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Span {
    pub start_s: f64,
    pub end_s: Option<f64>,
    /// From 1; `None` is the mean of all channels.
    pub channel: Option<u32>,
}

impl Span {
    /// No start means: from the beginning.
    pub fn new(start: Option<f64>, end: Option<f64>) -> Result<Self, SpanError> {
        let start_s = start.unwrap_or(0.0);
        for seconds in [Some(start_s), end].into_iter().flatten() {
            if !seconds.is_finite() {
                return Err(SpanError::NotFinite { seconds });
            }
            if seconds < 0.0 {
                return Err(SpanError::Negative { seconds });
            }
        }
        match end {
            Some(end_s) if end_s <= start_s => Err(SpanError::EndNotAfterStart { start_s, end_s }),
            end_s => Ok(Self { start_s, end_s, channel: None }),
        }
    }

    /// The same of one channel, counted from 1.
    pub fn on_channel(self, channel: Option<i32>) -> Result<Self, SpanError> {
        let channel = match channel.map(|number| (number, u32::try_from(number))) {
            None => None,
            Some((_, Ok(number))) if number > 0 => Some(number),
            Some((number, _)) => return Err(SpanError::NoChannel { number }),
        };
        Ok(Self { channel, ..self })
    }
}

/// Why one span has no audio, while others of the same source may have.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum SpanError {
    #[error("time {seconds} is not a finite number of seconds")]
    NotFinite { seconds: f64 },

    #[error("time {seconds} s is negative")]
    Negative { seconds: f64 },

    #[error("span ends at {end_s} s, not after its start at {start_s} s")]
    EndNotAfterStart { start_s: f64, end_s: f64 },

    #[error("channel {number} is not a channel: they count from 1")]
    NoChannel { number: i32 },

    #[error("channel {channel} is not in audio of {channels} channels")]
    ChannelMissing { channel: u32, channels: usize },

    #[error("span from {start_s} s to {} is beyond the end of the audio at {audio_s:.2} s", end(.end_s))]
    BeyondEnd { start_s: f64, end_s: Option<f64>, audio_s: f64 },

    #[error("span from {start_s} s to {} needs more than the {max_bytes} bytes of memory that are allowed", end(.end_s))]
    TooMuchMemory { start_s: f64, end_s: Option<f64>, max_bytes: u64 },
}

fn end(end_s: &Option<f64>) -> String {
    end_s.map_or_else(|| "the end".to_owned(), |end_s| format!("{end_s} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_whole_audio() {
        assert_eq!(Span::new(None, None), Ok(Span { start_s: 0.0, end_s: None, channel: None }));
        assert_eq!(Span::new(Some(1.5), Some(2.5)), Ok(Span { start_s: 1.5, end_s: Some(2.5), channel: None }));
    }

    #[test]
    fn each_mistake_has_its_name() {
        let nan = Span::new(Some(f64::NAN), None);
        assert!(matches!(nan, Err(SpanError::NotFinite { seconds }) if seconds.is_nan()));
        let infinite = Err(SpanError::NotFinite { seconds: f64::INFINITY });
        assert_eq!(Span::new(None, Some(f64::INFINITY)), infinite);
        assert_eq!(Span::new(Some(-0.1), None), Err(SpanError::Negative { seconds: -0.1 }));
        assert_eq!(Span::new(None, Some(-2.0)), Err(SpanError::Negative { seconds: -2.0 }));
        let whole = Span::new(None, None).unwrap();
        assert_eq!(whole.on_channel(Some(0)), Err(SpanError::NoChannel { number: 0 }));
        assert_eq!(whole.on_channel(Some(2)).unwrap().channel, Some(2));
        let backwards = Err(SpanError::EndNotAfterStart { start_s: 2.0, end_s: 2.0 });
        assert_eq!(Span::new(Some(2.0), Some(2.0)), backwards);
    }

    #[test]
    fn messages_tell_the_numbers() {
        let beyond = SpanError::BeyondEnd { start_s: 3.5, end_s: None, audio_s: 2.0 };
        assert_eq!(beyond.to_string(), "span from 3.5 s to the end is beyond the end of the audio at 2.00 s");
    }
}
