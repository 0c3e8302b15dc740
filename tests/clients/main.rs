//! A Rust program on the Unix socket, with the crates `postgres` and `pgvector`.
//!
//! SPEAKER_TEST_DSN names the server (`host=... user=...`); without it the tests say that they are skipped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pgvector::Vector;
use postgres::error::SqlState;
use postgres::{Client, NoTls};

/// A database of one test's own, dropped with it.
struct Database {
    dsn: String,
    name: String,
}

impl Database {
    /// `None` where there is no server to test.
    fn create(test: &str) -> Option<Self> {
        let Ok(dsn) = std::env::var("SPEAKER_TEST_DSN") else {
            println!("skipped: SPEAKER_TEST_DSN is not set");
            return None;
        };
        let name = format!("rust_{test}_{}", std::process::id());
        let database = Self { dsn, name };
        database.admin(&format!("CREATE DATABASE {}", database.name));
        let mut client = database.connect();
        client.batch_execute("CREATE EXTENSION pg_speaker CASCADE").unwrap();
        Some(database)
    }

    fn admin(&self, command: &str) {
        Client::connect(&format!("{} dbname=postgres", self.dsn), NoTls).unwrap().batch_execute(command).unwrap();
    }

    fn connect(&self) -> Client {
        Client::connect(&format!("{} dbname={}", self.dsn, self.name), NoTls).unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

fn meeting() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/meeting.flac")).unwrap()
}

fn embed(client: &mut Client, start: f64, end: f64) -> Vector {
    let row = client.query_one("SELECT extract_speaker_embedding($1, $2, $3)", &[&meeting(), &start, &end]);
    row.unwrap().get(0)
}

#[test]
fn an_embedding_is_a_unit_vector() {
    let Some(database) = Database::create("unit") else { return };
    let embedding = embed(&mut database.connect(), 0.0, 4.0).to_vec();
    assert_eq!(embedding.len(), 256);
    let norm: f32 = embedding.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((norm - 1.0).abs() < 1e-5, "norm is {norm}");
}

#[test]
fn connections_agree_to_the_bit() {
    let Some(database) = Database::create("agree") else { return };
    assert_eq!(embed(&mut database.connect(), 4.5, 8.6), embed(&mut database.connect(), 4.5, 8.6));
}

#[test]
fn a_bad_segment_is_a_row_of_its_own() {
    let Some(database) = Database::create("rows") else { return };
    let rows = database
        .connect()
        .query(
            "SELECT embedding, error_code FROM extract_speaker_embeddings($1, $2, $3)",
            &[&meeting(), &vec![0.0, 8.0, 500.0], &vec![4.0, 7.0, 501.0]],
        )
        .unwrap();
    let codes: Vec<Option<String>> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(codes, [None, Some("segment_empty".into()), Some("segment_beyond_end".into())]);
    assert!(rows[0].get::<_, Option<Vector>>(0).is_some() && rows[1].get::<_, Option<Vector>>(0).is_none());
}

#[test]
fn a_prepared_search_takes_a_vector() {
    let Some(database) = Database::create("search") else { return };
    let mut client = database.connect();
    client.execute("SELECT enroll_speaker('Ann', $1, 0, 4)", &[&meeting()]).unwrap();
    client.execute("SELECT enroll_speaker('Ben', $1, 4.5, 8.6)", &[&meeting()]).unwrap();
    let search = client.prepare("SELECT speaker, similarity FROM speaker_knn($1, 1)").unwrap();
    // More calls than the five after which PostgreSQL may choose a generic plan.
    for _ in 0..8 {
        for (start, end, name) in [(0.0, 4.0, "Ann"), (4.5, 8.6, "Ben")] {
            let query = embed(&mut client, start, end);
            let row = client.query_one(&search, &[&query]).unwrap();
            assert_eq!(row.get::<_, &str>(0), name);
            assert!((row.get::<_, f64>(1) - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn errors_carry_sqlstate_and_hint_and_the_connection_works_on() {
    let Some(database) = Database::create("errors") else { return };
    let mut client = database.connect();
    let error = client.query("SELECT extract_speaker_embedding($1)", &[&b"no audio".as_slice()]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::INVALID_BINARY_REPRESENTATION);
    assert!(error.hint().is_some_and(|hint| hint.contains("FLAC")));
    embed(&mut client, 0.0, 4.0);
}

#[test]
fn a_cancelled_extraction_leaves_a_working_connection() {
    let Some(database) = Database::create("cancel") else { return };
    let mut client = database.connect();
    let token = client.cancel_token();
    let cancel = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        token.cancel_query(NoTls).unwrap();
    });
    let endless = "SELECT count(extract_speaker_embedding($1, 0, 60 + i * 1e-3)) FROM generate_series(1, 1000) AS i";
    let error = client.query(endless, &[&meeting()]).unwrap_err();
    cancel.join().unwrap();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    embed(&mut client, 0.0, 4.0);
}

#[test]
fn extraction_leaves_no_thread_and_no_file() {
    let Some(database) = Database::create("traces") else { return };
    let mut client = database.connect();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let threads = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find(|line| line.starts_with("Threads:")).map(str::to_owned)
    };
    let before = threads();
    embed(&mut client, 0.0, 4.0);
    assert_eq!(threads(), before);
    match std::env::var("SPEAKER_TEST_HOME") {
        Ok(home) => assert_eq!(fs::read_dir(home).unwrap().count(), 0, "the server's home folder has files"),
        Err(_) => println!("skipped: SPEAKER_TEST_HOME is not set"),
    }
}
