//! When a damaged stream is still worth decoding.
//!
//! A recording of hours with a scratch is worth it; a stream of which nothing or little can be decoded is not, and may
//! have been made to keep a decoder busy.

use super::AudioError;

/// How the packets have been so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) good: u64,
    damaged: u64,
    pub(super) damaged_in_a_row: u64,
    empty: u64,
    /// What the last damage was.
    detail: String,
    /// Of the damaged, those that use a part of the codec which is not read, and the name of that.
    unsupported: u64,
    codec: String,
}

/// Damaged packets after which a stream that is not mostly sound is given up.
const PATIENCE: u64 = 100;

impl Health {
    pub(super) fn well(&mut self) {
        self.good += 1;
        self.damaged_in_a_row = 0;
    }

    pub(super) fn damaged(&mut self, detail: String) -> Result<(), AudioError> {
        self.damaged += 1;
        self.damaged_in_a_row += 1;
        self.detail = detail;
        if self.damaged > self.good.max(PATIENCE) {
            return Err(self.corrupt());
        }
        Ok(())
    }

    /// A packet that is sound, and uses a part of its codec that nobody here reads.
    pub(super) fn unsupported(&mut self, codec: String) -> Result<(), AudioError> {
        self.unsupported += 1;
        self.codec = codec;
        self.damaged(String::new())
    }

    /// A packet without samples. The first of a stream may be one, and those that are trimmed away; a stream of them
    /// could go on for ever without reaching a limit.
    pub(super) fn nothing(&mut self) -> Result<(), AudioError> {
        self.empty += 1;
        self.damaged_in_a_row = 0;
        if self.empty > self.good.max(PATIENCE) {
            return Err(AudioError::Corrupt { detail: format!("{} packets without samples", self.empty) });
        }
        Ok(())
    }

    pub(super) fn verdict(&self) -> Result<(), AudioError> {
        if self.damaged > self.good {
            return Err(self.corrupt());
        }
        Ok(())
    }

    fn corrupt(&self) -> AudioError {
        if 2 * self.unsupported > self.damaged {
            return AudioError::UnsupportedCodec { codec: self.codec.clone() };
        }
        let detail = format!("{} of {} packets, lastly: {}", self.damaged, self.damaged + self.good, self.detail);
        AudioError::Corrupt { detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_no_damage() {
        let mut health = Health::default();
        for _ in 0..3 {
            assert_eq!(health.unsupported("aac (predictor data)".into()), Ok(()));
            health.well();
        }
        assert_eq!(health.damaged("crc".into()), Ok(()));
        let codec = "aac (predictor data)".to_owned();
        assert_eq!(health.verdict(), Err(AudioError::UnsupportedCodec { codec }));
    }

    #[test]
    fn a_stream_may_be_damaged_in_places() {
        let mut health = Health::default();
        for _ in 0..PATIENCE {
            assert_eq!(health.damaged("crc".into()), Ok(()));
        }
        assert!(matches!(health.damaged("crc".into()), Err(AudioError::Corrupt { .. })));

        let mut health = Health { good: 1000, ..Health::default() };
        for _ in 0..1000 {
            assert_eq!(health.damaged("crc".into()), Ok(()));
        }
        assert_eq!(health.verdict(), Ok(()));
        assert!(health.damaged("crc".into()).is_err());
        let detail = "1001 of 2001 packets, lastly: crc".to_owned();
        assert_eq!(health.verdict(), Err(AudioError::Corrupt { detail }));
    }
}
