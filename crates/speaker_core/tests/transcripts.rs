//! What each tool writes, and what is read of it: the files of `data/transcripts`, each named by its tool and the version
//! or kind of its output, with what is right beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use speaker_core::segments::{parse_segments, Segments, FORMATS};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts")
}

/// The format, then a line for each segment: start, end, label, text, channel; - for none.
fn table(read: &Segments) -> String {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let lines = read.segments.iter().map(|segment| {
        assert_eq!(segment.flaw, None);
        assert!(segment.confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence)));
        let time = |seconds: f64| format!("{:?}", (seconds * 1e6).round() / 1e6);
        [
            time(segment.start_s),
            time(segment.end_s),
            or_none(segment.speaker_label.clone()),
            or_none(segment.text.clone()),
            or_none(segment.channel.map(|channel| channel.to_string())),
        ]
        .join("\t")
    });
    std::iter::once(read.format.to_owned()).chain(lines).map(|line| line + "\n").collect()
}

#[test]
fn every_tools_output_is_read_right() {
    let mut outputs: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    outputs.retain(|path| path.extension().is_some_and(|extension| extension != "expected"));
    outputs.sort();
    let (mut tools, mut wrong) = (BTreeSet::new(), 0);
    for path in &outputs {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (tool, kind) = name.split_once(' ').expect("a tool and a kind");
        tools.insert(tool);
        let expected = fs::read_to_string(path.with_file_name(format!("{name}.expected"))).unwrap();
        let got = match parse_segments(&fs::read_to_string(path).unwrap(), 1 << 26) {
            Ok(read) => table(&read),
            Err(error) => error.to_string(),
        };
        let right = got == expected;
        wrong += usize::from(!right);
        println!("{} {tool:24} {kind}", if right { "right" } else { "WRONG" });
        if !right {
            println!("got:\n{got}expected:\n{expected}");
        }
    }
    println!("tools={}\noutputs={}\nwrong={wrong}", tools.len(), outputs.len());
    assert_eq!(wrong, 0);
    assert!(tools.len() >= 12);
}

#[test]
fn every_format_has_an_output() {
    let seen: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "expected"))
        .map(|path| fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(seen, FORMATS.iter().map(|format| (*format).to_owned()).collect());
}
