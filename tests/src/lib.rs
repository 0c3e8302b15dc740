//! What the client tests share: a database of their own, the role that works in it, and speech to work on.
//!
//! The server is named by `SPEAKER_TEST_DSN` (`host=... user=...`, a superuser). Where it is unset, a test prints that
//! it is skipped and passes.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use pgvector::Vector;
use postgres::{Client, Config, NoTls};

/// A new database with the extension, and an ordinary role that may write. Both are dropped with this value.
pub struct TestDatabase {
    server: Config,
    name: String,
}

impl TestDatabase {
    /// `None` where there is no server to test.
    pub fn create() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        let Ok(dsn) = env::var("SPEAKER_TEST_DSN") else {
            skip("SPEAKER_TEST_DSN is not set");
            return None;
        };
        let database = Self {
            server: dsn.parse().expect("SPEAKER_TEST_DSN is a connection string"),
            name: format!("speaker_rust_{}_{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
        };
        let name = &database.name;
        let mut server = database.connect_as(None, "postgres");
        server.batch_execute(&format!("CREATE ROLE {name} LOGIN")).unwrap();
        // Not in one batch with the role: CREATE DATABASE refuses the transaction that a batch is.
        server.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).unwrap();
        database
            .connect_as(None, name)
            .batch_execute(&format!(
                "CREATE EXTENSION pg_speaker CASCADE;
                 SELECT create_speaker_store();
                 SELECT speaker.grant_access('{name}');
                 ALTER DATABASE {name} SET search_path = public, speaker"
            ))
            .unwrap();
        Some(database)
    }

    /// A connection as the ordinary role.
    pub fn connect(&self) -> Client {
        self.connect_as(Some(&self.name), &self.name)
    }

    fn connect_as(&self, role: Option<&str>, database: &str) -> Client {
        let mut config = self.server.clone();
        if let Some(role) = role {
            config.user(role);
        }
        config.dbname(database).connect(NoTls).expect("the server of SPEAKER_TEST_DSN answers")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = &self.name;
        let mut server = self.connect_as(None, "postgres");
        server.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
        server.batch_execute(&format!("DROP ROLE IF EXISTS {name}")).unwrap();
    }
}

/// A file of `fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures")).join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The embedding of a stretch of the meeting.
pub fn embed(client: &mut Client, start_s: f64, end_s: f64) -> Vector {
    let arguments: [&(dyn postgres::types::ToSql + Sync); 3] = [&fixture("meeting.flac"), &start_s, &end_s];
    client.query_one("SELECT extract_speaker_embedding($1, $2, $3)", &arguments).unwrap().get(0)
}

/// Stores a recording of a quarter of an hour: its embedding takes far longer than any test waits before it cancels.
/// Stored, because PostgreSQL ignores a cancel while it still reads the statement's parameters.
pub fn store_long_speech(client: &mut Client) {
    // The samples of the server's WAV files follow a header of 44 bytes, which has their length twice.
    const HEADER: usize = 44;
    let clip: Vec<u8> =
        client.query_one("SELECT audio_clip($1, NULL, NULL)", &[&fixture("meeting.flac")]).unwrap().get(0);
    let (header, samples) = clip.split_at(HEADER);
    let samples = samples.repeat(10);
    let length = u32::try_from(samples.len()).unwrap();
    let mut wav = header.to_vec();
    wav[4..8].copy_from_slice(&(length + HEADER as u32 - 8).to_le_bytes());
    wav[40..44].copy_from_slice(&length.to_le_bytes());
    wav.extend(samples);
    client.execute("INSERT INTO speaker.recordings (external_id, audio) VALUES ('long', $1)", &[&wav]).unwrap();
}

/// The home folder of the server's user, where the caller made one for the test.
pub fn home() -> Option<PathBuf> {
    env::var_os("SPEAKER_TEST_HOME").map(PathBuf::from)
}

/// Prints past the test harness, which shows only what failing tests print.
pub fn skip(reason: &str) {
    let test = std::thread::current();
    // Nothing is lost but the notice.
    let _ = writeln!(std::io::stderr(), "skipped {}: {reason}", test.name().unwrap_or("a test"));
}
