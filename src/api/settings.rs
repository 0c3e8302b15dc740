//! Settings as SQL reads them: `current_setting` knows them only once the library is loaded.

use pgrx::prelude::*;

use crate::settings;

#[pg_schema]
pub mod speaker {
    use super::*;

    #[pg_extern(stable, parallel_safe)]
    pub fn default_model() -> String {
        settings::default_model()
    }

    #[pg_extern(stable, parallel_safe)]
    pub fn max_attempts() -> i32 {
        settings::max_attempts()
    }

    #[pg_extern(stable, parallel_safe)]
    pub fn retry_delay_s() -> i32 {
        settings::retry_delay()
    }
}
