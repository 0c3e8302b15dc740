//! Where a speaker is alone.

use speaker_core::overlap::{Alone, Piece, Turn, MOST_PIECES};

fn turn(start_s: f64, end_s: f64, label: &str) -> Turn<'_> {
    Turn { start_s, end_s, label: Some(label).filter(|label| !label.is_empty()), channel: None }
}

fn left(turns: &[Turn], of: usize) -> Vec<(f64, f64)> {
    Alone::new(turns).pieces(&turns[of]).iter().map(|piece| (piece.start_s, piece.end_s)).collect()
}

#[test]
fn a_word_inside_a_turn_leaves_two_pieces_and_nothing_of_the_word() {
    let turns = [turn(0.0, 6.0, "A"), turn(1.5, 3.0, "B")];
    assert_eq!(left(&turns, 0), [(0.0, 1.5), (3.0, 6.0)]);
    assert_eq!(left(&turns, 1), []);
}

#[test]
fn turns_that_touch_do_not_overlap() {
    let turns = [turn(0.0, 2.0, "A"), turn(2.0, 4.0, "B"), turn(4.0, 5.0, "A")];
    assert_eq!(left(&turns, 0), [(0.0, 2.0)]);
    assert_eq!(left(&turns, 1), [(2.0, 4.0)]);
}

#[test]
fn turns_of_one_label_do_not_cut_each_other() {
    let turns = [turn(0.0, 5.0, "A"), turn(2.0, 8.0, "A"), turn(4.0, 4.5, "A"), turn(7.0, 9.0, "B")];
    assert_eq!(left(&turns, 0), [(0.0, 5.0)]);
    assert_eq!(left(&turns, 1), [(2.0, 7.0)]);
    assert_eq!(left(&turns, 2), [(4.0, 4.5)]);
    assert_eq!(left(&turns, 3), [(8.0, 9.0)]);
}

#[test]
fn no_label_cuts_nothing_and_is_not_cut() {
    let turns = [turn(0.0, 4.0, "A"), turn(1.0, 5.0, ""), turn(2.0, 3.0, "")];
    assert_eq!(left(&turns, 0), [(0.0, 4.0)]);
    assert_eq!(left(&turns, 1), [(1.0, 5.0)]);
}

#[test]
fn channels_do_not_hear_each_other() {
    let on = |start_s, end_s, label, channel| Turn { channel: Some(channel), ..turn(start_s, end_s, label) };
    let turns = [on(0.0, 3.0, "agent", 1), on(0.0, 3.0, "customer", 2), on(2.0, 4.0, "colleague", 1)];
    assert_eq!(left(&turns, 0), [(0.0, 2.0)]);
    assert_eq!(left(&turns, 1), [(0.0, 3.0)]);
    assert_eq!(left(&turns, 2), [(3.0, 4.0)]);
}

#[test]
fn empty_and_reversed_turns_do_not_count() {
    let turns = [turn(0.0, 4.0, "A"), turn(2.0, 2.0, "B"), turn(3.0, 1.0, "C")];
    assert_eq!(left(&turns, 0), [(0.0, 4.0)]);
}

/// Against the definition, tick by tick.
#[test]
fn each_tick_is_in_a_piece_if_nobody_else_talks() {
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..300 {
        let turns: Vec<Turn> = (0..12)
            .map(|_| {
                let start = random(40);
                let label = ["A", "B", "C", ""][random(4) as usize];
                turn(start as f64, (start + 1 + random(10)) as f64, label)
            })
            .collect();
        let alone = Alone::new(&turns);
        for own in &turns {
            let pieces = alone.pieces(own);
            for tick in 0..60 {
                let at = f64::from(tick) + 0.5;
                let talks = |turn: &&Turn| turn.start_s < at && at < turn.end_s;
                let rival = turns.iter().filter(talks).any(|turn| turn.label.is_some() && turn.label != own.label);
                let wanted = talks(&own) && !(rival && own.label.is_some());
                let got = pieces.iter().any(|piece| piece.start_s < at && at < piece.end_s);
                assert_eq!(got, wanted, "{own:?} at {at} of {turns:?}");
            }
            assert!(pieces.windows(2).all(|pair| pair[0].end_s < pair[1].start_s), "{pieces:?}");
        }
    }
}

#[test]
fn pieces_are_bounded() {
    let mut turns = vec![turn(0.0, 1e6, "A")];
    turns.extend((0..5000).map(|word| turn(f64::from(word) * 10.0 + 5.0, f64::from(word) * 10.0 + 6.0, "B")));
    let pieces = Alone::new(&turns).pieces(&turns[0]);
    assert_eq!(pieces.len(), MOST_PIECES);
    assert_eq!(pieces[1], Piece { start_s: 6.0, end_s: 15.0 });
}
