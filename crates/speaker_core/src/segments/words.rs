//! Words to segments: where a tool tells who said each word, and nothing above that.

use super::Raw;

/// A pause that ends a segment, in seconds.
const PAUSE_S: f64 = 1.0;

/// Joins words that follow each other, of one speaker and channel and without a pause. Words without times belong to
/// those before them.
pub(super) fn join(words: impl IntoIterator<Item = Raw>) -> Vec<Raw> {
    let mut segments: Vec<(Raw, f64, f64)> = Vec::new();
    for word in words {
        let weight = word.confidence.map_or(0.0, |_| 1.0);
        let sum = word.confidence.unwrap_or(0.0);
        match segments.last_mut() {
            Some((segment, total, n)) if goes_on(segment, &word) => {
                segment.end_s = word.end_s.or(segment.end_s);
                let text = segment.text.get_or_insert_default();
                if let Some(more) = &word.text {
                    // Tools that keep the spaces in their tokens need none.
                    if !text.is_empty() && !text.ends_with(' ') && !more.starts_with(' ') && !is_punctuation(more) {
                        text.push(' ');
                    }
                    text.push_str(more);
                }
                *total += sum;
                *n += weight;
            }
            _ => segments.push((Raw { confidence: None, ..word }, sum, weight)),
        }
    }
    segments
        .into_iter()
        .map(|(segment, total, n)| Raw { confidence: (n > 0.0).then(|| total / n), ..segment })
        .collect()
}

fn goes_on(segment: &Raw, word: &Raw) -> bool {
    if word.start_s.is_none() {
        return true;
    }
    segment.label == word.label
        && segment.channel == word.channel
        // Times that go back begin another part.
        && segment.start_s.zip(word.start_s).is_none_or(|(begun, start)| start >= begun)
        && segment.end_s.zip(word.start_s).is_none_or(|(end, start)| start - end <= PAUSE_S)
}

fn is_punctuation(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_punctuation())
}
