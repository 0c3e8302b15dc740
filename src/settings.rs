//! The settings `speaker.*`: one block each, with its name, default, range, help and getter.
//!
//! Paths and limits are the superuser's: a path that any user may set is a way to read files, and a limit that any user
//! may raise is none.

use std::ffi::{CStr, CString};
use std::path::PathBuf;

use pgrx::{pg_sys, GucContext, GucFlags, GucRegistry, GucSetting};
use speaker_core::audio::Limits;

static MODEL_DIR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The folder of manifests and ONNX files.
pub fn model_dir() -> PathBuf {
    text(&MODEL_DIR).map_or_else(|| installed(pg_sys::get_share_path).join("pg_speaker"), PathBuf::from)
}

static ONNXRUNTIME: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The ONNX Runtime library.
pub fn onnxruntime() -> PathBuf {
    text(&ONNXRUNTIME)
        .map_or_else(|| installed(pg_sys::get_pkglib_path).join("pg_speaker").join("libonnxruntime.so"), PathBuf::from)
}

static DEFAULT_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"ge2e"));

/// The model of calls that name none.
pub fn default_model() -> String {
    text(&DEFAULT_MODEL).unwrap_or_else(|| "ge2e".into())
}

static COLLECTION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// The collection of calls that name none, if it is set.
pub fn collection() -> Option<String> {
    text(&COLLECTION)
}

static MAX_AUDIO_BYTES: GucSetting<i32> = GucSetting::<i32>::new(100 * 1024);
static MAX_AUDIO_SECONDS: GucSetting<f64> = GucSetting::<f64>::new(6.0 * 3600.0);
static MAX_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(512 * 1024);

/// Bytes that one call may ask for.
pub fn max_memory() -> u64 {
    // Its unit is kB, as of PostgreSQL's own memory settings.
    MAX_MEMORY.get() as u64 * 1024
}

/// The limits of one decode.
pub fn audio_limits() -> Limits {
    Limits {
        max_bytes: MAX_AUDIO_BYTES.get() as u64 * 1024,
        max_seconds: MAX_AUDIO_SECONDS.get(),
        max_memory: max_memory(),
    }
}

static AUDIO_DIR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The folder that audio files of the server have to be in, if there is one.
pub fn audio_dir() -> Option<PathBuf> {
    text(&AUDIO_DIR).map(PathBuf::from)
}

static MAX_ATTEMPTS: GucSetting<i32> = GucSetting::<i32>::new(5);

/// Attempts at a segment before it is dead.
pub fn max_attempts() -> i32 {
    MAX_ATTEMPTS.get()
}

static RETRY_DELAY: GucSetting<i32> = GucSetting::<i32>::new(60);

/// Seconds before the second attempt; each further one waits twice as long.
pub fn retry_delay() -> i32 {
    RETRY_DELAY.get()
}

static MIN_SPEECH: GucSetting<f64> = GucSetting::<f64>::new(-1.0);

/// Seconds of speech that an embedding needs; `None` is the model's own.
pub fn min_speech() -> Option<f64> {
    Some(MIN_SPEECH.get()).filter(|seconds| *seconds >= 0.0)
}

static MIN_SPEECH_TO_MATCH: GucSetting<f64> = GucSetting::<f64>::new(0.0);

/// Seconds of speech that an automatic label needs.
pub fn min_speech_to_match() -> f64 {
    MIN_SPEECH_TO_MATCH.get()
}

static MIN_SPEECH_TO_CONFIRM: GucSetting<f64> = GucSetting::<f64>::new(-1.0);

/// Seconds of speech with which an automatic label confirms itself; negative: never.
pub fn min_speech_to_confirm() -> f64 {
    MIN_SPEECH_TO_CONFIRM.get()
}

static MIN_SPEECH_TO_CREATE: GucSetting<f64> = GucSetting::<f64>::new(1.0);

/// Seconds of speech that a clip needs to make a person known.
pub fn min_speech_to_create() -> f64 {
    MIN_SPEECH_TO_CREATE.get()
}

static CONFIRM_AUTOMATIC_LABELS: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Whether automatic labels are confirmed at once.
pub fn confirm_automatic_labels() -> bool {
    CONFIRM_AUTOMATIC_LABELS.get()
}

static CLUSTER_THREADS: GucSetting<i32> = GucSetting::<i32>::new(1);

/// Threads of one clustering.
pub fn cluster_threads() -> usize {
    CLUSTER_THREADS.get().max(1) as usize
}

/// Declares every setting. PostgreSQL then refuses other names with this prefix.
pub fn declare() {
    GucRegistry::define_string_guc(
        c"speaker.model_dir",
        c"Folder of the models: NAME.toml and the ONNX file it names.",
        c"Empty means the folder of the installation. Files whose sha256 is not the manifest's are refused.",
        &MODEL_DIR,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"speaker.onnxruntime",
        c"The ONNX Runtime library, loaded by the first extraction of a session.",
        c"Empty means the library of the installation. A change is seen by new sessions only.",
        &ONNXRUNTIME,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"speaker.default_model",
        c"The model of calls that name none.",
        c"Vectors of different models are never compared: after a change, embed the old segments again.",
        &DEFAULT_MODEL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"speaker.collection",
        c"The collection of calls that name none, and of row-level security's sessions.",
        c"Empty means unset: calls take 'default', and a session that row-level security lets choose by this setting sees no rows.",
        &COLLECTION,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"speaker.max_audio_bytes",
        c"Largest audio file that is decoded.",
        c"A higher value lets one call hold a backend for longer.",
        &MAX_AUDIO_BYTES,
        1,
        1024 * 1024,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_float_guc(
        c"speaker.max_audio_seconds",
        c"Longest audio that is decoded, in seconds.",
        c"It bounds the time that a small file of hours of silence can take.",
        &MAX_AUDIO_SECONDS,
        1.0,
        86_400.0 * 7.0,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"speaker.max_memory",
        c"Most memory that the arguments of one call may make it take.",
        c"An hour of one segment takes 220 MB; to cluster vectors of 256 dimensions takes up to 3 kB each. What runs over it is an error, of a segment or of the call.",
        &MAX_MEMORY,
        1024,
        16 * 1024 * 1024,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_string_guc(
        c"speaker.audio_dir",
        c"The folder that audio files of the server have to be in.",
        c"Empty means any; only members of pg_read_server_files read files at all.",
        &AUDIO_DIR,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"speaker.max_attempts",
        c"Attempts at a segment before it is dead.",
        c"retry_embeddings() makes dead segments due again.",
        &MAX_ATTEMPTS,
        1,
        1000,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"speaker.retry_delay",
        c"Time before a segment that failed is tried again.",
        c"It doubles with each attempt, up to a day.",
        &RETRY_DELAY,
        0,
        86_400,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_float_guc(
        c"speaker.min_speech",
        c"Seconds of speech that an embedding needs, after voice activity detection; -1 means the model's own.",
        c"A lower value embeds shorter segments, whose embeddings are confused more often.",
        &MIN_SPEECH,
        -1.0,
        60.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"speaker.min_speech_to_match",
        c"Seconds of speech that a segment needs to be labelled by identify_speakers().",
        c"A higher value leaves short segments unknown. Most of these reach no threshold anyway.",
        &MIN_SPEECH_TO_MATCH,
        0.0,
        60.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"speaker.min_speech_to_confirm",
        c"Seconds of speech with which a label of identify_speakers() is confirmed by itself; -1 means never.",
        c"Labels that confirm themselves move the mean that the next call is measured against: a wrong one draws others after it. Long segments are taken for others more often than short ones.",
        &MIN_SPEECH_TO_CONFIRM,
        -1.0,
        3600.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"speaker.min_speech_to_create",
        c"Seconds of speech that a clip needs for enroll_speaker().",
        c"A higher value refuses clips after which the person is not recognised: two of three times below one second.",
        &MIN_SPEECH_TO_CREATE,
        0.0,
        60.0,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"speaker.confirm_automatic_labels",
        c"Whether automatic labels are confirmed at once.",
        c"The risk: one stranger who is accepted by mistake moves the mean of a person, and after some recordings has taken it over.",
        &CONFIRM_AUTOMATIC_LABELS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"speaker.cluster_threads",
        c"Threads of one clustering.",
        c"A higher value clusters sooner and takes cores from other sessions.",
        &CLUSTER_THREADS,
        1,
        64,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: a C string constant, on the backend's only thread.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"speaker".as_ptr()) };
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    setting.get().map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

type PathOf = unsafe fn(*const std::ffi::c_char, *mut std::ffi::c_char);

/// A folder of this PostgreSQL installation.
fn installed(path_of: PathOf) -> PathBuf {
    let mut buffer = [0; pg_sys::MAXPGPATH as usize];
    // SAFETY: both functions write a NUL-terminated path of at most MAXPGPATH bytes; my_exec_path is set at start-up.
    let path = unsafe {
        path_of((&raw const pg_sys::my_exec_path).cast(), buffer.as_mut_ptr());
        CStr::from_ptr(buffer.as_ptr())
    };
    PathBuf::from(path.to_string_lossy().into_owned())
}
