//! One channel of several, and stretches made of several spans.

mod audio_support;

use std::ops::ControlFlow;

use audio_support::{decode_within, pcm16, sample, span, speech, to_f32, whole, Wav};
use speaker_core::audio::{self, AudioError, Limits, Mono16k, Span, SpanError, Stretch};
use speaker_core::never;

/// Speech on the left, something else on the right.
fn stereo(right: impl Fn(i16) -> i16) -> Vec<u8> {
    let frames: Vec<i16> = speech().into_iter().flat_map(|left| [left, right(left)]).collect();
    Wav::pcm16(16_000, 2, &pcm16(&frames)).bytes()
}

fn on(span: Span, channel: i32) -> Span {
    span.on_channel(Some(channel)).unwrap()
}

fn stretches(bytes: Vec<u8>, wanted: &[Stretch], limits: &Limits) -> Vec<(usize, Result<Mono16k, SpanError>)> {
    let mut out = Vec::new();
    let mut sink = |index, audio| {
        out.push((index, audio));
        ControlFlow::Continue(())
    };
    audio::decode_stretches(audio::from_bytes(bytes), wanted, limits, &never, &mut sink).unwrap();
    out.sort_by_key(|(index, _)| *index);
    out
}

#[test]
fn each_channel_is_itself_and_the_mix_their_mean() {
    let spans = [on(whole(), 1), on(whole(), 2), whole()];
    let (mut out, result) = decode_within(stereo(|left| left / 4), &spans, &Limits::default());
    assert_eq!(result, Ok(()));
    out.sort_by_key(|(index, _)| *index);
    let left = to_f32(&speech());
    let right: Vec<f32> = to_f32(&speech().iter().map(|sample| sample / 4).collect::<Vec<_>>());
    let mix: Vec<f32> = left.iter().zip(&right).map(|(l, r)| (l + r) * 0.5).collect();
    for ((_, got), want) in out.iter().zip([left, right, mix]) {
        assert_eq!(got.as_ref().unwrap().samples(), want);
    }
}

#[test]
fn opposite_phases_cancel_in_the_mix_only() {
    let spans = [whole(), on(whole(), 2)];
    let (mut out, _) = decode_within(stereo(|left| left.saturating_neg()), &spans, &Limits::default());
    out.sort_by_key(|(index, _)| *index);
    let peak = |audio: &Result<Mono16k, SpanError>| {
        audio.as_ref().unwrap().samples().iter().fold(0.0_f32, |most, sample| most.max(sample.abs()))
    };
    assert!(peak(&out[0].1) < 1e-4, "{}", peak(&out[0].1));
    assert!(peak(&out[1].1) > 0.1, "{}", peak(&out[1].1));
}

/// A span has the same samples whatever channels are asked for beside it, at any rate.
#[test]
fn channels_do_not_disturb_each_other() {
    for file in ["speech_stereo.mp3", "speech_stereo.m4a", "speech_51.ogg"] {
        let spans = [on(span(0.2, 0.9), 2), span(0.2, 0.9), on(span(0.5, 1.2), 1), on(whole(), 2)];
        let (out, result) = decode_within(sample(file), &spans, &Limits::default());
        assert_eq!((result, out.len()), (Ok(()), 4), "{file}");
        for (index, audio) in out {
            let (alone, _) = decode_within(sample(file), &spans[index..=index], &Limits::default());
            assert!(alone[0].1 == audio, "{file}, span {index}");
        }
    }
}

#[test]
fn a_channel_that_is_not_there_is_an_error_of_its_spans() {
    let spans = [on(whole(), 3), on(whole(), 1), on(span(0.0, 1.0), i32::MAX)];
    let (out, result) = decode_within(stereo(|left| left), &spans, &Limits::default());
    assert_eq!(result, Ok(()));
    let missing = |channel| Err(SpanError::ChannelMissing { channel, channels: 2 });
    assert_eq!((out[0].0, &out[0].1), (0, &missing(3)));
    assert_eq!((out[1].0, &out[1].1), (2, &missing(i32::MAX as u32)));
    assert!(out[2].1.is_ok());
    assert_eq!(whole().on_channel(Some(0)), Err(SpanError::NoChannel { number: 0 }));
    assert_eq!(whole().on_channel(Some(-1)), Err(SpanError::NoChannel { number: -1 }));
}

#[test]
fn a_stretch_is_its_spans_joined() {
    let all = to_f32(&speech());
    let wanted = [vec![span(0.0, 0.25), span(0.5, 0.75), span(1.0, 1.5)], vec![whole()], vec![span(0.25, 1.25)]];
    let out = stretches(sample("speech.wav"), &wanted, &Limits::default());
    let joined = [&all[..4_000], &all[8_000..12_000], &all[16_000..24_000]].concat();
    for ((_, got), want) in out.iter().zip([&joined[..], &all, &all[4_000..20_000]]) {
        assert!(got.as_ref().unwrap().samples() == want);
    }
}

#[test]
fn a_part_that_cannot_be_had_is_the_stretchs_error() {
    let wanted = [vec![span(0.0, 0.25), span(8.0, 9.0), span(9.0, 10.0)], vec![span(0.0, 1.0)]];
    let out = stretches(sample("speech.wav"), &wanted, &Limits::default());
    let beyond = Err(SpanError::BeyondEnd { start_s: 8.0, end_s: Some(9.0), audio_s: 1.5 });
    assert_eq!((out.len(), &out[0].1), (2, &beyond));
    assert!(out[1].1.is_ok());
}

/// Parts that wait for others count as memory, and give way alone.
#[test]
fn parts_that_wait_are_bounded() {
    let apart = || vec![span(0.0, 0.25), span(1.25, 1.5)];
    let wanted = [apart(), vec![span(0.5, 0.6)], apart(), apart()];
    // Room for half a second of samples; the three first parts are three quarters of one.
    let limits = Limits { max_memory: 8_000 * 4, ..Limits::default() };
    let out = stretches(sample("speech.wav"), &wanted, &limits);
    let too_much = SpanError::TooMuchMemory { start_s: 0.0, end_s: Some(1.5), max_bytes: 32_000 };
    let refused = out.iter().filter(|(_, audio)| *audio == Err(too_much)).count();
    assert_eq!((out.len(), refused), (4, 1));
}

#[test]
fn no_spans_read_nothing() {
    assert_eq!(decode_within(sample("speech.wav"), &[], &Limits::default()).1, Ok::<(), AudioError>(()));
}

/// What comes before the first packet that can be decoded is silence of each channel.
#[test]
fn a_damaged_first_packet_takes_no_channel_away() {
    let mut m4a = sample("speech_stereo.m4a");
    let mdat = m4a.windows(4).position(|four| four == b"mdat").unwrap();
    m4a[mdat + 4..mdat + 260].fill(0xff);
    let (out, result) = decode_within(m4a, &[whole(), on(whole(), 1), on(whole(), 2)], &Limits::default());
    assert_eq!(result, Ok(()));
    let lengths: Vec<_> = out.iter().map(|(_, audio)| audio.as_ref().map(|audio| audio.samples().len())).collect();
    assert!(lengths.iter().all(|length| *length == lengths[0] && length.is_ok()), "{lengths:?}");
}
