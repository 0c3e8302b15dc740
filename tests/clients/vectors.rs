//! Vectors as parameters, and by the million: prepared statements and binary COPY.

use pg_speaker_client_tests::{embed, fixture, TestDatabase};
use pgvector::Vector;
use postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutIter};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;

#[test]
fn a_prepared_search_takes_a_vector() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let turns = [(0.0, 4.0, "Ann"), (4.5, 8.6, "Ben")];
    for (start, end, name) in turns {
        client
            .execute("SELECT enroll_speaker($1, $2, $3, $4)", &[&name, &fixture("meeting.flac"), &start, &end])
            .unwrap();
    }
    let queries = turns.map(|(start, end, name)| (embed(&mut client, start, end), name));

    let search = client.prepare("SELECT speaker, similarity, distance FROM speaker_knn($1)").unwrap();
    assert_eq!(search.params()[0].name(), "vector");
    // More calls than the five after which PostgreSQL may choose a generic plan.
    for _ in 0..8 {
        for (query, name) in &queries {
            let rows = client.query(&search, &[query]).unwrap();
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[0].get::<_, &str>("speaker"), *name);
            let (similarity, distance): (f64, f64) = (rows[0].get("similarity"), rows[0].get("distance"));
            assert!((similarity - 1.0).abs() < 1e-6, "similarity is {similarity}");
            assert!((similarity + distance - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn binary_copy_in_and_out_keeps_every_bit() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let embeddings = [embed(&mut client, 0.0, 4.0), embed(&mut client, 4.5, 8.6)];
    let vector = client.prepare("SELECT $1::vector").unwrap().params()[0].clone();
    let types = [Type::INT8, vector];

    // Segments of a recording whose audio and embeddings are made elsewhere.
    let segments = r#"[{"start": 0, "end": 4}, {"start": 4.5, "end": 8.6}]"#;
    let ids: Vec<i64> = client
        .query("SELECT segment_id FROM ingest_recording('elsewhere', NULL, $1::text, embed => false)", &[&segments])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    client.execute("SELECT label_segment($1, 'Ann')", &[&ids[0]]).unwrap();

    let sink =
        client.copy_in("COPY speaker.embeddings (segment_id, model_id, embedding) FROM STDIN (FORMAT binary)").unwrap();
    let mut writer = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::INT4, types[1].clone()]);
    for (id, embedding) in ids.iter().zip(&embeddings) {
        writer.write(&[id, &1i32, embedding]).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 2);

    let copy = "COPY (SELECT segment_id, embedding FROM speaker.embeddings ORDER BY 1) TO STDOUT (FORMAT binary)";
    let rows = BinaryCopyOutIter::new(client.copy_out(copy).unwrap(), &types);
    let rows: Vec<(i64, Vector)> = rows.map(|row| Ok((row.get(0), row.get(1)))).collect().unwrap();
    assert_eq!(rows, ids.into_iter().zip(embeddings.clone()).collect::<Vec<_>>());

    // The label of before is a centroid since the embedding came.
    let row = client.query_one("SELECT n, mean FROM speaker.speaker_centroids", &[]).unwrap();
    assert_eq!(row.get::<_, i64>("n"), 1);
    let mean: Vector = row.get("mean");
    for (mean, value) in mean.as_slice().iter().zip(embeddings[0].as_slice()) {
        assert!((mean - value).abs() < 1e-6);
    }
}

#[test]
fn binary_copy_refuses_a_vector_of_another_model() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let vector = client.prepare("SELECT $1::vector").unwrap().params()[0].clone();
    let segments = r#"[{"start": 0, "end": 4}]"#;
    let id: i64 = client
        .query_one("SELECT segment_id FROM ingest_recording('elsewhere', NULL, $1::text, embed => false)", &[&segments])
        .unwrap()
        .get(0);
    let sink =
        client.copy_in("COPY speaker.embeddings (segment_id, model_id, embedding) FROM STDIN (FORMAT binary)").unwrap();
    let mut writer = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::INT4, vector]);
    writer.write(&[&id, &1i32, &Vector::from(vec![1.0, 2.0, 3.0])]).unwrap();
    let error = writer.finish().unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.constraint(), Some("embeddings_model_id_dim_fkey"));
}
