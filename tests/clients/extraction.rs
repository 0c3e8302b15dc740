//! Audio goes in as bytes, `pgvector::Vector` comes out.

use pg_speaker_client_tests::{embed, fixture, TestDatabase};
use pgvector::Vector;

#[test]
fn an_embedding_is_a_unit_vector() {
    let Some(database) = TestDatabase::create() else { return };
    let embedding = embed(&mut database.connect(), 0.0, 4.0).to_vec();
    assert_eq!(embedding.len(), 256);
    let norm = embedding.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!((norm - 1.0).abs() < 1e-6, "norm is {norm}");
}

#[test]
fn no_audio_is_no_embedding() {
    let Some(database) = TestDatabase::create() else { return };
    let row = database.connect().query_one("SELECT extract_speaker_embedding($1)", &[&None::<Vec<u8>>]).unwrap();
    assert_eq!(row.get::<_, Option<Vector>>(0), None);
}

#[test]
fn a_bad_stretch_is_a_row_of_its_own() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let starts = vec![Some(0.0), Some(8.0), Some(500.0), Some(4.1), Some(103.0)];
    let ends = vec![Some(4.0), Some(7.0), Some(501.0), Some(4.45), None];
    let rows = client
        .query(
            "SELECT ordinal, embedding, speech_s, error_code, error, permanent FROM extract_speaker_embeddings($1, $2, $3)",
            &[&fixture("meeting.flac"), &starts, &ends],
        )
        .unwrap();

    let codes: Vec<Option<&str>> = rows.iter().map(|row| row.get("error_code")).collect();
    assert_eq!(codes, [None, Some("segment_empty"), Some("segment_beyond_end"), Some("speech_none"), None]);
    for (position, row) in rows.iter().enumerate() {
        assert_eq!(row.get::<_, i32>("ordinal"), position as i32 + 1);
        let failed = codes[position].is_some();
        assert_eq!(row.get::<_, Option<Vector>>("embedding").is_none(), failed);
        assert_eq!(row.get::<_, Option<f64>>("speech_s").is_none(), failed);
        assert_eq!(row.get::<_, Option<&str>>("error").is_some(), failed);
        assert_eq!(row.get::<_, Option<bool>>("permanent"), failed.then_some(true));
    }
    // Company changes nothing: the same stretch alone has the same embedding, to the bit.
    assert_eq!(rows[0].get::<_, Option<Vector>>("embedding"), Some(embed(&mut client, 0.0, 4.0)));
}

#[test]
fn connections_agree_to_the_bit() {
    let Some(database) = TestDatabase::create() else { return };
    assert_eq!(embed(&mut database.connect(), 4.5, 8.6), embed(&mut database.connect(), 4.5, 8.6));
}
