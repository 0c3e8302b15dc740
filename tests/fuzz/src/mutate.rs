//! Damages a file where its structure is: lengths, boundaries, order.

use crate::parts::{fix_checksums, parts, Field, Form};
use crate::random::Random;

/// One to four changes of a file, or of two files spliced.
pub fn mutate(samples: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = samples[random.below(samples.len())].clone();
    for _ in 0..=random.below(4) {
        change(&mut bytes, samples, random);
    }
    if random.below(2) == 0 {
        fix_checksums(&mut bytes);
    }
    bytes
}

/// Beyond this, duplicates would be all that there is.
const LARGEST: usize = 1 << 20;

fn change(bytes: &mut Vec<u8>, samples: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let found = parts(bytes);
    let part = |bytes: &[u8], random: &mut Random| match found.parts.len() {
        0 => {
            let start = random.below(bytes.len());
            start..start + random.below(bytes.len() - start)
        }
        n => found.parts[random.below(n)].clone(),
    };
    match random.below(12) {
        0 => flip(bytes, 0, random),
        1 => {
            // A header is at the start of a part.
            let start = part(bytes, random).start;
            flip(bytes, start, random);
        }
        2 => bytes.truncate(part(bytes, random).end),
        3 => bytes.truncate(random.below(bytes.len())),
        4 => drop(bytes.drain(part(bytes, random))),
        5 => {
            let (copy, at) = (bytes[part(bytes, random)].to_vec(), part(bytes, random).start);
            let times = 1 + random.below(8);
            if bytes.len() + copy.len() * times <= LARGEST {
                bytes.splice(at..at, copy.repeat(times));
            }
        }
        6 => {
            let (a, b) = (part(bytes, random), part(bytes, random));
            let (first, second) = if a.start <= b.start { (a, b) } else { (b, a) };
            if first.end <= second.start {
                let swapped = [&bytes[second.clone()], &bytes[first.end..second.start], &bytes[first.clone()]].concat();
                bytes.splice(first.start..second.end, swapped);
            }
        }
        7 | 8 if !found.lengths.is_empty() => resize(bytes, &found.lengths[random.below(found.lengths.len())], random),
        9 => {
            let other = &samples[random.below(samples.len())];
            let theirs = parts(other).parts;
            let from = theirs.get(random.below(theirs.len())).map_or(0, |part| part.start);
            bytes.truncate(part(bytes, random).end);
            bytes.extend(&other[from..]);
            bytes.truncate(LARGEST);
        }
        10 => {
            let part = part(bytes, random);
            bytes[part].fill([0, 0xff, random.next() as u8][random.below(3)]);
        }
        _ => huge(bytes, random),
    }
}

fn flip(bytes: &mut [u8], from: usize, random: &mut Random) {
    let reach = bytes.len().saturating_sub(from).min(if from > 0 { 64 } else { usize::MAX });
    for _ in 0..=random.below(8) {
        if let Some(byte) = bytes.get_mut(from + random.below(reach)) {
            *byte = match random.below(3) {
                0 => *byte ^ 1 << random.below(8),
                1 => byte.wrapping_add(random.below(5) as u8).wrapping_sub(2),
                _ => random.next() as u8,
            };
        }
    }
}

/// Numbers at which things break.
fn edge(random: &mut Random) -> u64 {
    let power = 1u64 << random.below(64);
    [0, 1, power, power - 1, power.wrapping_neg(), u64::MAX, random.next()][random.below(7)]
}

/// Writes another number into a length field.
fn resize(bytes: &mut [u8], field: &Field, random: &mut Random) {
    let Some(place) = bytes.get_mut(field.at.clone()) else { return };
    let width = place.len();
    let old = place.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let number = match random.below(3) {
        0 => old.wrapping_add(random.below(17) as u64).wrapping_sub(8),
        _ => edge(random),
    };
    let written = &number.to_be_bytes()[8 - width..];
    match field.form {
        Form::Little => place.iter_mut().zip(written.iter().rev()).for_each(|(byte, new)| *byte = *new),
        Form::Big => place.copy_from_slice(written),
        Form::Vint => {
            // The width stays, or what follows would only be shifted.
            let marker = 0x80 >> (width - 1);
            place.copy_from_slice(written);
            place[0] = place[0] & (marker - 1) | marker;
        }
    }
}

/// A large number somewhere, most often in the header.
fn huge(bytes: &mut [u8], random: &mut Random) {
    let reach = if random.below(4) > 0 { bytes.len().min(600) } else { bytes.len() };
    let width = [2, 4, 8][random.below(3)];
    let number = edge(random).to_be_bytes();
    let at = random.below(reach);
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&number[8 - width..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_an_input() {
        let samples = [b"OggS and no more".to_vec(), (0..=255).collect()];
        let made = |seed| mutate(&samples, &mut Random(seed));
        assert!((0..500).all(|seed| made(seed) == made(seed)));
        let changed = (0..500).filter(|&seed| !samples.contains(&made(seed))).count();
        assert!(changed > 400, "only {changed} of 500 were changed");
    }
}
