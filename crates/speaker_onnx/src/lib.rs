//! ONNX Runtime for pg_speaker: one environment a process, one session a model, windows in small batches.
//!
//! The only crate that knows `ort`. It is made for PostgreSQL backends: nothing is started before it is asked for, no
//! thread is left running, batches are small so that what they leave allocated is too, and interruption is answered
//! between them.

mod embedder;
mod error;
mod model;
mod runtime;

pub use embedder::{next_batch, Embedded, Embedder, BATCH_WINDOWS};
pub use error::{EmbedError, OnnxError};
pub use model::{parse_manifest, read_manifest, Model};
pub use runtime::{without_signals, Runtime};
