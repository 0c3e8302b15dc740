//! Every error code, once: what programs, a store's view `error_codes` and the README's table know of it.
//!
//! Hints name a store's objects as they are called in the default store, `speaker`.

use pgrx::PgSqlErrorCode;

/// One code.
#[derive(Debug)]
pub struct ErrorCode {
    /// For programs; it does not change between versions.
    pub code: &'static str,
    pub sqlstate: PgSqlErrorCode,
    /// Whether the same input can never work.
    pub permanent: bool,
    pub meaning: &'static str,
    /// What to look at.
    pub troubleshooting: &'static str,
    /// What to do; the hint of the error.
    pub recovery: &'static str,
}

impl ErrorCode {
    /// The code of this name.
    pub fn find(code: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|entry| entry.code == code)
    }

    /// The five characters.
    pub fn sqlstate_text(&self) -> String {
        let packed = self.sqlstate as u32;
        (0..5).map(|place| char::from(b'0' + (packed >> (6 * place) & 0x3f) as u8)).collect()
    }
}

macro_rules! catalogue {
    ($($name:ident: $code:literal, $sqlstate:ident, $permanence:ident,
        $meaning:literal, $troubleshooting:literal, $recovery:literal;)*) => {
        $(pub static $name: ErrorCode = ErrorCode {
            code: $code,
            sqlstate: PgSqlErrorCode::$sqlstate,
            permanent: $permanence,
            meaning: $meaning,
            troubleshooting: $troubleshooting,
            recovery: $recovery,
        };)*

        /// All codes, in the order of the documentation.
        pub static ALL: &[&ErrorCode] = &[$(&$name),*];
    };
}

const PERMANENT: bool = true;
const PASSING: bool = false;

catalogue! {
    AUDIO_EMPTY: "audio_empty", ERRCODE_ZERO_LENGTH_CHARACTER_STRING, PERMANENT,
        "Zero bytes",
        "Whether the upload was complete, and the right parameter was bound.",
        "Pass the bytes of an audio file; NULL means that there is none.";
    AUDIO_TOO_LARGE: "audio_too_large", ERRCODE_PROGRAM_LIMIT_EXCEEDED, PASSING,
        "More bytes than speaker.max_audio_bytes",
        "The size of the file, and SHOW speaker.max_audio_bytes.",
        "Raise speaker.max_audio_bytes, or compress the audio: FLAC halves a WAV file without loss.";
    AUDIO_TOO_LONG: "audio_too_long", ERRCODE_PROGRAM_LIMIT_EXCEEDED, PASSING,
        "More seconds than speaker.max_audio_seconds",
        "Whether it is really that long; a small file of hours of silence is suspicious.",
        "Raise speaker.max_audio_seconds, or split the recording.";
    AUDIO_TOO_MUCH_MEMORY: "audio_too_much_memory", ERRCODE_PROGRAM_LIMIT_EXCEEDED, PASSING,
        "Segments that would hold more memory at once than speaker.max_memory",
        "Whether one segment spans hours, or many overlap a long one.",
        "Raise speaker.max_memory, or use shorter segments.";
    AUDIO_UNKNOWN_FORMAT: "audio_unknown_format", ERRCODE_INVALID_BINARY_REPRESENTATION, PERMANENT,
        "Not a format that is read",
        "The first bytes of the file: it may be text, an error page, or encrypted.",
        "WAV, FLAC, MP3, AAC, M4A, MP4 and MOV, Ogg, AIFF, AU, CAF, Wave64, WebM and Matroska files are read; check that these are the file's bytes.";
    AUDIO_NO_TRACK: "audio_no_track", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "A file without an audio track",
        "Whether the video was recorded with sound.",
        "Pass a file that has sound.";
    AUDIO_UNSUPPORTED: "audio_unsupported", ERRCODE_FEATURE_NOT_SUPPORTED, PERMANENT,
        "A container, codec, edit list, sample rate (2 to 384 kHz are read) or number of channels (up to 64) that is not read",
        "What the message names.",
        "Convert the recording, for example to FLAC at 16 kHz.";
    AUDIO_TRUNCATED: "audio_truncated", ERRCODE_STRING_DATA_LENGTH_MISMATCH, PERMANENT,
        "The file ends before what its header declares",
        "The size of the file where it came from.",
        "The file was cut off on its way; upload it again.";
    AUDIO_CORRUPT: "audio_corrupt", ERRCODE_DATA_EXCEPTION, PERMANENT,
        "The file is damaged",
        "Whether a player reads it where it came from.",
        "The file is damaged; upload it again, or convert it anew.";
    AUDIO_NO_SAMPLES: "audio_no_samples", ERRCODE_STRING_DATA_LENGTH_MISMATCH, PERMANENT,
        "A valid file without a sample",
        "Whether the recording was stopped as it started.",
        "The file is valid but holds no sound.";
    AUDIO_DECODER_FAILED: "audio_decoder_failed", ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, PASSING,
        "A bug of a decoder, set off by this file",
        "Whether other files of the same origin work.",
        "This is a bug of a decoder; convert the recording, for example to FLAC, and report the file.";
    AUDIO_UNREADABLE: "audio_unreadable", ERRCODE_IO_ERROR, PASSING,
        "Reading the audio failed",
        "The server's log, and the permissions of the file.",
        "Try again; the server's log may tell more.";
    MISSING_AUDIO: "missing_audio", ERRCODE_NO_DATA_FOUND, PASSING,
        "The recording has no audio, or its file or large object is gone",
        "The columns audio, audio_lo and audio_path of speaker.recordings.",
        "Set audio, audio_lo or audio_path of the recording; its segments are then due again.";
    FILES_FORBIDDEN: "files_forbidden", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "A file of the server, for a role that may not read those",
        "SELECT pg_has_role('pg_read_server_files', 'USAGE').",
        "Use a role that is a member of pg_read_server_files, or store the audio as bytea or large object.";
    AUDIO_FORBIDDEN: "audio_forbidden", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "A large object that the caller, or the role that named it, may not read",
        "The large object's owner and privileges: \\lo_list+ in psql.",
        "GRANT SELECT ON LARGE OBJECT to that role, or have a role that may read it name it anew.";
    FILE_PATH: "file_path", ERRCODE_INVALID_PARAMETER_VALUE, PASSING,
        "A path that is relative, or leads out of speaker.audio_dir",
        "SHOW speaker.audio_dir, and where links on the path lead.",
        "Name an absolute path of a file inside speaker.audio_dir.";
    SEGMENT_INVALID_TIME: "segment_invalid_time", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, PERMANENT,
        "A time that is negative or not finite",
        "The segments as they were passed.",
        "Times are seconds from the start of the recording.";
    SEGMENT_EMPTY: "segment_empty", ERRCODE_INVALID_PARAMETER_VALUE, PERMANENT,
        "The end is not after the start, or nothing of it is inside the recording",
        "The segments as they were passed, and the duration of the recording.",
        "Pass an end that is after the start.";
    CHANNEL_MISSING: "channel_missing", ERRCODE_INVALID_PARAMETER_VALUE, PERMANENT,
        "A channel that the audio does not have",
        "channels of audio_info(), and where the number came from.",
        "Channels count from 1; NULL means the mix of all of them.";
    OVERLAPPED: "overlapped", ERRCODE_DATA_EXCEPTION, PERMANENT,
        "A segment in which others speak as well, with too little of its own speaker alone",
        "The turns of the same run at that time; overlapped_s of other segments' embeddings says how much they lost.",
        "Label it by hand; after other turns of the run changed, retry_embeddings('overlapped') tries again.";
    SEGMENTS_DIFFER: "segments_differ", ERRCODE_UNIQUE_VIOLATION, PERMANENT,
        "A segment under an external_id that its run has with other content",
        "The segments as they were passed, and those of the run.",
        "Give each segment an id of its own, or make another run with add_run().";
    SEGMENT_BEYOND_END: "segment_beyond_end", ERRCODE_SUBSTRING_ERROR, PERMANENT,
        "Outside the recording",
        "Whether the times are milliseconds, or of another recording. An end up to a second (or a hundredth) behind the recording's is cut off.",
        "Times are seconds: divide milliseconds by 1000. audio_info() tells the recording's duration.";
    SPEECH_TOO_SHORT: "speech_too_short", ERRCODE_DATA_EXCEPTION, PERMANENT,
        "Less speech than speaker.min_speech",
        "Listen to segment_clip(); the voice activity detector leaves out pauses.",
        "Pass a longer clip, or lower speaker.min_speech.";
    SPEECH_NONE: "speech_none", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "Silence, or sound that is not a voice",
        "Listen to segment_clip(): silence, music or noise? Channels of opposite phase cancel each other in the mix.",
        "Check the times, and that the recording has a voice in this stretch; of a stereo recording, name the channel.";
    VECTOR_DIMENSIONS: "vector_dimensions", ERRCODE_DATA_EXCEPTION, PERMANENT,
        "Two vectors of different dimensions, so of different models",
        "Which model made each of them.",
        "Compare embeddings of the same model only.";
    VECTOR_INVALID: "vector_invalid", ERRCODE_INVALID_PARAMETER_VALUE, PERMANENT,
        "A value that is not finite, or all zeros",
        "How the vector was made.",
        "An embedding has finite values that are not all zero.";
    RUNTIME_MISSING: "runtime_missing", ERRCODE_UNDEFINED_FILE, PASSING,
        "ONNX Runtime cannot be loaded",
        "SHOW speaker.onnxruntime, and whether the server's user can read that file.",
        "Install onnxruntime 1.20 or newer on the server and name the library in speaker.onnxruntime.";
    MODEL_EXTERNAL: "model_external", ERRCODE_FEATURE_NOT_SUPPORTED, PERMANENT,
        "A model of register_external_model(), of which nothing can be computed here",
        "The model that the call names, and SHOW speaker.default_model.",
        "Compute the embeddings where the model is, and store them with add_segment_embedding().";
    MODEL_UNKNOWN: "model_unknown", ERRCODE_UNDEFINED_OBJECT, PASSING,
        "Not a name of a model, not registered in the store, or not in speaker.model_dir",
        "SELECT name FROM speaker.models, and SHOW speaker.model_dir.",
        "SELECT name FROM speaker.models lists the models; register_model() adds one whose files are in speaker.model_dir.";
    MODEL_MISSING: "model_missing", ERRCODE_UNDEFINED_FILE, PASSING,
        "The model's manifest or file cannot be read",
        "Whether the server's user can read the files in speaker.model_dir.",
        "Put the model's manifest and ONNX file into speaker.model_dir, readable by the server.";
    MODEL_ALTERED: "model_altered", ERRCODE_CONFIG_FILE_ERROR, PASSING,
        "The file's sha256 is not the manifest's",
        "Whether the file was replaced, or copied in part.",
        "Install the file that belongs to the manifest; another file is another version and needs its own.";
    MODEL_OTHER_VERSION: "model_other_version", ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, PASSING,
        "The installed model is not the one that the store registered",
        "The sha256 in speaker.models and in the installed manifest.",
        "Install the registered version, or call register_model() to use the new one beside it.";
    MODEL_CONTRACT: "model_contract", ERRCODE_CONFIG_FILE_ERROR, PASSING,
        "The file's tensors are not what the manifest says",
        "The names and shapes of the graph's inputs and outputs.",
        "Correct the manifest's tensors, frontend or dimension.";
    MANIFEST_INVALID: "manifest_invalid", ERRCODE_CONFIG_FILE_ERROR, PASSING,
        "The manifest cannot be read",
        "The line that the message names.",
        "Correct the manifest; the one of the default model is an example.";
    INFERENCE_FAILED: "inference_failed", ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, PASSING,
        "ONNX Runtime failed, perhaps for lack of memory",
        "The server's memory, and its log.",
        "Try again; if it lasts, the server may lack memory.";
    SEGMENTS_INVALID: "segments_invalid", ERRCODE_INVALID_TEXT_REPRESENTATION, PERMANENT,
        "The text of segments cannot be read",
        "The place that the message names.",
        "Pass what the diarizer or transcriber wrote, as it is, or an array of {\"start\", \"end\", \"speaker\"} in seconds.";
    SEGMENTS_OF_SEVERAL_FILES: "segments_of_several_files", ERRCODE_INVALID_PARAMETER_VALUE, PERMANENT,
        "RTTM of more than one recording",
        "The second column of the RTTM.",
        "Split the RTTM: each recording has segments of its own.";
    ARRAY_LENGTHS: "array_lengths", ERRCODE_ARRAY_ELEMENT_ERROR, PERMANENT,
        "Not as many ends as starts",
        "How the arrays were made.",
        "Pass one start and one end for each segment.";
    NULL_ELEMENT: "null_element", ERRCODE_NULL_VALUE_NOT_ALLOWED, PERMANENT,
        "NULL in an array",
        "How the array was made.",
        "Leave the element out of the array.";
    ARGUMENT_MISSING: "argument_missing", ERRCODE_NULL_VALUE_NOT_ALLOWED, PERMANENT,
        "An argument is NULL that must not be",
        "The parameters that were bound.",
        "Pass a value for the argument; the function's comment tells which may be NULL.";
    INVALID_ARGUMENT: "invalid_argument", ERRCODE_INVALID_PARAMETER_VALUE, PERMANENT,
        "An argument out of its range",
        "The function's comment: \\df+ in psql.",
        "See the function's comment for its arguments.";
    TOO_MANY_VECTORS: "too_many_vectors", ERRCODE_PROGRAM_LIMIT_EXCEEDED, PERMANENT,
        "More vectors than can be clustered at once",
        "The number of unknown segments.",
        "Cluster a part of the vectors at a time.";
    TOO_MUCH_MEMORY: "too_much_memory", ERRCODE_PROGRAM_LIMIT_EXCEEDED, PASSING,
        "Arguments that would take more memory than speaker.max_memory",
        "How many vectors, segments or embeddings the call got, min_samples, and SHOW speaker.max_memory.",
        "Raise speaker.max_memory, or pass a part at a time: fewer vectors, embeddings or segments, a smaller k or min_samples.";
    OUT_OF_MEMORY: "out_of_memory", ERRCODE_OUT_OF_MEMORY, PASSING,
        "Memory that speaker.max_memory allows, and the server does not have",
        "The memory and the limits of the server, and how many sessions share them.",
        "Try again when less is running, or pass a part at a time.";
    CLUSTERING_INCONSISTENT: "clustering_inconsistent", ERRCODE_DATA_EXCEPTION, PERMANENT,
        "A clustering that is not of these vectors",
        "Whether embeddings changed since it was made.",
        "The clustering is not of these vectors; cluster anew.";
    RECORDING_UNKNOWN: "recording_unknown", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "No such recording in the collection",
        "SELECT collection, external_id FROM speaker.recordings.",
        "Name a recording that is there, with its collection; ingest_recording() adds one.";
    RECORDING_DIFFERS: "recording_differs", ERRCODE_UNIQUE_VIOLATION, PERMANENT,
        "Other content under the same external_id",
        "Which content is the right one.",
        "The same content again is a no-op. Give other audio another external_id; add_run() adds other segments.";
    BATCH_UNKNOWN: "batch_unknown", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "A batch of labels that there is not",
        "SELECT * FROM speaker.label_batches; row-level security may hide it.",
        "Pass the batch_id that identify_speakers() or confirm_labels() returned.";
    RUN_UNKNOWN: "run_unknown", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "No such run",
        "SELECT id FROM speaker.runs.",
        "SELECT id FROM speaker.runs lists the runs.";
    SEGMENT_UNKNOWN: "segment_unknown", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "No such segment",
        "SELECT id FROM speaker.segments.",
        "SELECT id FROM speaker.segments lists the segments.";
    SPEAKER_UNKNOWN: "speaker_unknown", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "No such speaker in the collection",
        "SELECT collection, name FROM speaker.speakers.",
        "SELECT name FROM speaker.speakers lists the speakers; label_segment() and enroll_speaker() add one.";
    CLUSTER_UNKNOWN: "cluster_unknown", ERRCODE_NO_DATA_FOUND, PERMANENT,
        "No such clustering, or no such cluster in it",
        "SELECT clustering_id, cluster FROM speaker.cluster_members.",
        "SELECT cluster FROM speaker.cluster_members lists the clusters; noise is none.";
    COLLECTION_FIXED: "collection_fixed", ERRCODE_FEATURE_NOT_SUPPORTED, PERMANENT,
        "The collection of a row that is there already would change",
        "Which collection the row was made in.",
        "The collection of a row never changes: ingest the recording anew in the other collection, and delete it here.";
    LABEL_FIXED: "label_fixed", ERRCODE_FEATURE_NOT_SUPPORTED, PERMANENT,
        "How a segment was labelled would change while its speaker stays",
        "speaker.assignments has what was decided, when and by whom.",
        "Say who speaks and how that was found in one UPDATE; unlabel_segment() takes a label back.";
    CHANGED_TOGETHER: "changed_together", ERRCODE_FEATURE_NOT_SUPPORTED, PERMANENT,
        "One statement changes a segment and its vector, so that neither change sees what the other has replaced",
        "A WITH that changes one of the two, in a statement that changes the other.",
        "Change them in two statements, in one transaction if need be.";
    ROW_HIDDEN: "row_hidden", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "A row that a policy hides, or that a trigger swallowed as it was written",
        "The policies and the triggers of the table: \\d in psql.",
        "Let the policies of the table show the role what it writes, and its triggers return the row.";
    IN_TRANSACTION: "in_transaction", ERRCODE_ACTIVE_SQL_TRANSACTION, PASSING,
        "A procedure that commits was called inside a transaction or a function",
        "Whether the client opened a transaction: drivers do so unless autocommit is on.",
        "Call it with autocommit on and outside of BEGIN, DO and functions, or use embed_due() in transactions of your own.";
    LEDGER_FORBIDDEN: "ledger_forbidden", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "Leases of a store taken by another than its owner, whose own functions alone take them",
        "Who owns the store's tables and its functions: they have one owner.",
        "Call backfill_embeddings() instead; the functions and tables of a store have to have the same owner.";
    STORE_MISSING: "store_missing", ERRCODE_INVALID_SCHEMA_NAME, PASSING,
        "No store in that schema",
        "The name of the schema, and the database that the session is in.",
        "SELECT create_speaker_store() makes a store, in schema speaker unless another is named.";
    STORE_EXISTS: "store_exists", ERRCODE_DUPLICATE_SCHEMA, PASSING,
        "The schema has a store already, or other objects",
        "What is in the schema.",
        "Name another schema. A store that is there is brought up to date by upgrade_speaker_store().";
    STORE_VERSION: "store_version", ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, PASSING,
        "The store is of another version than the library",
        "The migrations that the store records, and the version of the installed library.",
        "If the store is older, SELECT upgrade_speaker_store(); if it is newer, install that version of pg_speaker.";
    STORE_NOT_EMPTY: "store_not_empty", ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, PASSING,
        "The store has data already",
        "What the store's tables hold.",
        "Use an empty store, or remove what is in this one.";
    STORE_FORBIDDEN: "store_forbidden", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "A store in a schema of another role",
        "The owner of the schema: \\dn in psql.",
        "Use a schema of your own, or have its owner make the store.";
    TRIGGER_MISPLACED: "trigger_misplaced", ERRCODE_INSUFFICIENT_PRIVILEGE, PERMANENT,
        "A trigger function of a store on a table that is not its own",
        "Who made the trigger.",
        "Drop the trigger: the store's functions work for the store's tables only.";
    CLAIM_OF_OTHERS: "claim_of_others", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "A claim of another session, which is at work",
        "SELECT * FROM speaker.embedding_claims.",
        "Leave it to that session; what a session that is gone had claimed is taken back by the next backfill.";
    SCHEMA_OPEN: "schema_open", ERRCODE_INSUFFICIENT_PRIVILEGE, PASSING,
        "Others than its owner may create objects in this schema, and so catch what its functions call",
        "The privileges of the schema: \\dn+ in psql.",
        "REVOKE CREATE ON SCHEMA from all but its owner, or name another schema.";
    ENCODING: "encoding", ERRCODE_FEATURE_NOT_SUPPORTED, PERMANENT,
        "The encoding of the database is not UTF8",
        "SHOW server_encoding.",
        "Use a database that was created with ENCODING 'UTF8'.";
    SESSION_ENDED: "session_ended", ERRCODE_CRASH_SHUTDOWN, PASSING,
        "The session ended, or the server crashed, each time that this segment was worked on alone. In the ledger only",
        "The server's log at those times; statement_timeout of the session.",
        "Convert the recording, for example to FLAC, or give the session more time; retry_embeddings() makes it due again.";
    UNEXPECTED_ERROR: "unexpected_error", ERRCODE_INTERNAL_ERROR, PASSING,
        "An error of PostgreSQL's or of a trigger, while this segment was worked on. In the ledger only",
        "The text of the error, and the server's log.",
        "Remove the cause; it is tried again by itself, and retry_embeddings() makes dead ones due again.";
    INTERRUPTED: "interrupted", ERRCODE_QUERY_CANCELED, PASSING,
        "Cancelled, or statement_timeout",
        "SHOW statement_timeout.",
        "Run it again; nothing was written.";
}
