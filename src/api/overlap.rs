//! What is left of segments in which somebody else talks as well.

use pgrx::prelude::*;
use pgrx::Array;
use speaker_core::overlap::{Alone, Piece, Turn};

use crate::error::{raise, SqlError};
use crate::memory;

#[pg_extern(immutable, strict, parallel_safe)]
fn speaker_alone(
    starts: Array<f64>,
    ends: Array<f64>,
    labels: Array<&str>,
    channels: Array<i32>,
    wanted: Array<i32>,
) -> TableIterator<'static, (name!(turn, i32), name!(start_s, f64), name!(end_s, f64))> {
    raise(|| {
        let turns = starts.len();
        for (argument, got) in [("ends", ends.len()), ("labels", labels.len()), ("channels", channels.len())] {
            if got != turns {
                return Err(SqlError::OtherLength { argument, got, starts: turns }.into());
            }
        }
        // A turn, its two edges, and its share of what is found.
        let each = size_of::<Turn>() + 8 * size_of::<Piece>();
        memory::within_limit((turns * each) as u64, || format!("a diarization of {turns} turns"))?;
        let bound = |argument, position, value: Option<f64>| {
            value.ok_or(SqlError::NullElement { argument, position: position + 1 })
        };
        let turns = starts
            .iter()
            .zip(ends.iter())
            .zip(labels.iter().zip(channels.iter()))
            .enumerate()
            .map(|(row, ((start_s, end_s), (label, channel)))| {
                Ok(Turn { start_s: bound("starts", row, start_s)?, end_s: bound("ends", row, end_s)?, label, channel })
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let alone = Alone::new(&turns);
        let mut rows = Vec::new();
        for (row, number) in wanted.iter().enumerate() {
            let number = number.ok_or(SqlError::NullElement { argument: "wanted", position: row + 1 })?;
            let turn = usize::try_from(number - 1).ok().and_then(|place| turns.get(place));
            for Piece { start_s, end_s } in turn.map(|turn| alone.pieces(turn)).unwrap_or_default() {
                memory::reserve(&mut rows, 1)?;
                rows.push((number, start_s, end_s));
            }
        }
        Ok(TableIterator::new(rows))
    })
}

extension_sql!(
    r#"
COMMENT ON FUNCTION speaker_alone(float8[], float8[], text[], int[], int[]) IS
    'For each wanted turn (from 1) of one diarization the pieces in which no other label has a turn on its channel. A turn without a label is not cut, and cuts none.';
"#,
    name = "overlap_comments",
    requires = [speaker_alone],
);
