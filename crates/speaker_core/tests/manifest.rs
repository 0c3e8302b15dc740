//! Manifests at the door: what is missing, misspelt or out of range is refused with the field's name.

use std::fs;
use std::path::Path;

use speaker_core::manifest::{is_model_name, Manifest, ManifestError};

fn ge2e() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/ge2e.toml")).unwrap()
}

/// The default model's manifest with one line of it changed, or gone.
fn with(line: &str, to: &str) -> Result<Manifest, ManifestError> {
    let text = ge2e();
    let at = text.lines().position(|it| it.starts_with(line)).unwrap_or_else(|| panic!("the manifest has {line}"));
    let lines: Vec<_> = text.lines().enumerate().map(|(number, it)| if number == at { to } else { it }).collect();
    Manifest::parse(&lines.join("\n"))
}

#[test]
fn every_manifest_that_is_shipped_is_valid_and_named_as_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let manifest = Manifest::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(Some(manifest.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
            assert!(is_model_name(&manifest.name));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn no_field_may_be_missing() {
    for line in ge2e().lines().filter(|line| line.contains(" = ")) {
        let key = line.split('=').next().unwrap();
        let error = with(key, "").unwrap_err();
        assert!(matches!(error, ManifestError::Syntax { .. }), "without {key}: {error}");
    }
}

#[test]
fn no_field_may_be_unknown() {
    for line in ["name = ", "[input]", "[output]", "kind = ", "[thresholds]"] {
        let original = ge2e().lines().find(|it| it.starts_with(line)).unwrap().to_owned();
        let error = with(line, &format!("{original}\nthreshhold = 0.5")).unwrap_err();
        assert!(matches!(error, ManifestError::Syntax { .. }) && error.to_string().contains("threshhold"), "{error}");
    }
    assert!(with("kind = ", "kind = \"kaldi\"").is_err());
}

#[test]
fn a_value_out_of_range_is_named() {
    for (line, to, field) in [
        ("name = ", "name = \"../ge2e\"", "name"),
        ("version = ", "version = \"\"", "version"),
        ("file = ", "file = \"/etc/passwd\"", "file"),
        ("file = ", "file = \"..\"", "file"),
        ("file = ", "file = \"a\\\\b\"", "file"),
        ("sha256 = ", "sha256 = \"d5c1\"", "sha256"),
        ("dim = ", "dim = 0", "dim"),
        ("dim = ", "dim = 16001", "dim"),
        ("min_speech_s = ", "min_speech_s = -0.1", "min_speech_s"),
        ("min_speech_s = ", "min_speech_s = nan", "min_speech_s"),
        ("sample_rate = ", "sample_rate = 8000", "input.sample_rate"),
        ("target_dbfs = ", "target_dbfs = 3.0", "frontend.target_dbfs"),
        ("n_fft = ", "n_fft = 1000000", "frontend.n_fft"),
        ("hop = ", "hop = 0", "frontend.hop"),
        ("n_mels = ", "n_mels = 0", "frontend.n_mels"),
        ("window_frames = ", "window_frames = 0", "frontend.window_frames"),
        ("windows_per_s = ", "windows_per_s = 0.0", "frontend.windows_per_s"),
        ("min_coverage = ", "min_coverage = inf", "frontend.min_coverage"),
        ("vad_frame_ms = ", "vad_frame_ms = 25", "frontend.vad_frame_ms"),
        ("vad_average = ", "vad_average = 0", "frontend.vad_average"),
        ("vad_dilate = ", "vad_dilate = 1000000", "frontend.vad_dilate"),
        ("utterance = ", "utterance = 1.5", "thresholds"),
        ("centroid = ", "centroid = nan", "thresholds"),
    ] {
        let error = with(line, to).unwrap_err();
        assert!(matches!(error, ManifestError::Field { field: got, .. } if got == field), "{to}: {error}");
    }
}

#[test]
fn hostile_text_ends_in_an_error() {
    for text in ["", "\0", "name = ", "[[[[", "name = \"ge2e\"\nname = \"ge2e\"", &"[a".repeat(100_000)] {
        assert!(Manifest::parse(text).is_err());
    }
}
