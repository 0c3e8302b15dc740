//! Errors, cancelling, and that the connection works on after either.

use std::thread;
use std::time::Duration;

use pg_speaker_client_tests::{embed, store_long_speech, TestDatabase};
use postgres::error::{DbError, SqlState};
use postgres::NoTls;

#[test]
fn an_error_carries_sqlstate_code_and_hint() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let error = client.query("SELECT extract_speaker_embedding($1)", &[&b"no audio".as_slice()]).unwrap_err();
    let error: &DbError = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::INVALID_BINARY_REPRESENTATION);
    assert_eq!(error.routine(), Some("audio_unknown_format"));
    assert!(error.hint().is_some_and(|hint| hint.contains("FLAC")), "hint is {:?}", error.hint());
    // The code once more, for who sees no routine; neither a backtrace nor anything else of the program's inside.
    assert_eq!(error.detail(), Some("error code: audio_unknown_format"));
    embed(&mut client, 0.0, 4.0);
}

#[test]
fn an_error_ends_the_transaction_that_it_is_in() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let mut transaction = client.transaction().unwrap();
    transaction.execute("INSERT INTO speaker.speakers (name) VALUES ('Ann')", &[]).unwrap();
    transaction.execute("SELECT extract_speaker_embedding('')", &[]).unwrap_err();
    let error = transaction.execute("SELECT 1", &[]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    transaction.rollback().unwrap();
    assert!(client.query("SELECT FROM speaker.speakers", &[]).unwrap().is_empty());
    embed(&mut client, 0.0, 4.0);
}

#[test]
fn a_cancelled_verification_leaves_a_working_connection() {
    let Some(database) = TestDatabase::create() else { return };
    let mut client = database.connect();
    let before = embed(&mut client, 0.0, 4.0);
    store_long_speech(&mut client);

    let token = client.cancel_token();
    let mut observer = database.connect();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let cancel = thread::spawn(move || {
        let active = "SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query ~ 'verify'";
        while observer.query(active, &[&pid]).unwrap().is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        // Well into the work, which takes many times as long.
        thread::sleep(Duration::from_millis(300));
        token.cancel_query(NoTls).unwrap();
    });
    let error = client.query("SELECT verify_speakers(audio, audio) FROM speaker.recordings", &[]).unwrap_err();
    cancel.join().unwrap();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));

    assert_eq!(embed(&mut client, 0.0, 4.0), before);
    assert_eq!(client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get::<_, i32>(0), pid);
}
