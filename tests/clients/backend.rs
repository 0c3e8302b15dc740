//! What a session leaves in its backend and on the server: seen from /proc, so on this machine only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pg_speaker_client_tests::{embed, fixture, home, skip, TestDatabase};
use postgres::Client;

fn proc(client: &mut Client, file: &str) -> String {
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

fn threads(client: &mut Client) -> usize {
    let status = proc(client, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
    line.trim().parse().unwrap()
}

/// Every file and folder below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}

/// The postmaster never loads the runtime: its children would inherit a broken thread pool.
#[test]
fn each_connection_loads_the_runtime_with_its_first_extraction() {
    let Some(database) = TestDatabase::create() else { return };
    let mut first = database.connect();
    let mut second = database.connect();
    for client in [&mut first, &mut second] {
        assert!(!proc(client, "maps").contains("onnxruntime"));
        // The library is loaded now, and the audio decoded. Still no runtime.
        client.query("SELECT audio_info($1)", &[&fixture("meeting.flac")]).unwrap();
        assert!(!proc(client, "maps").contains("onnxruntime"));
        embed(client, 0.0, 4.0);
        assert!(proc(client, "maps").contains("onnxruntime"));
    }
}

#[test]
fn extraction_leaves_no_thread() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    assert_eq!(threads(&mut client), 1);
    embed(&mut client, 0.0, 4.0);
    assert_eq!(threads(&mut client), 1);
}

#[test]
fn clustering_on_four_threads_leaves_none() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    client.batch_execute("SET speaker.cluster_threads = 4").unwrap();
    let points = "SELECT array_agg(ARRAY[sin(i), cos(i), sin(i * i)]::vector) FROM generate_series(1, 2000) AS i";
    client.execute(&format!("SELECT * FROM hdbscan(({points}))"), &[]).unwrap();
    assert_eq!(threads(&mut client), 1);
}

/// Telemetry would write its queue below the home folder of the server's user.
#[test]
fn extraction_writes_no_file() {
    let Some(home) = home() else { return skip("SPEAKER_TEST_HOME is not set") };
    let Some(database) = TestDatabase::create() else { return };
    let before = files(&home);
    embed(&mut database.connect(), 0.0, 4.0);
    assert_eq!(files(&home), before);
}
