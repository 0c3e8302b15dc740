//! Prints the install SQL of a built extension library: `pg_speaker_schema LIBRARY CONTROL VERSION`.
//!
//! pgrx keeps its SQL entities in a section of the shared library. Reading them here, instead of with cargo-pgrx, lets
//! plain cargo and make build the extension.

use std::error::Error;
use std::{env, fs};

use object::{Object, ObjectSection};
use pgrx_sql_entity_graph::{section, ControlFile, PgrxSql, SqlGraphEntity};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [library, control, version] = args.as_slice() else {
        return Err("usage: pg_speaker_schema LIBRARY CONTROL VERSION".into());
    };

    let bytes = fs::read(library)?;
    let file = object::File::parse(&*bytes)?;
    let entities = file
        .sections()
        .find(|section| section.name().is_ok_and(section::is_schema_section_name))
        .ok_or("the library has no section of SQL entities")?;
    let control = ControlFile::from_path_with_cargo_version(control, version)?;
    let entities = std::iter::once(Ok(SqlGraphEntity::ExtensionRoot(control)))
        .chain(section::decode_entities(entities.data()?)?.into_iter().map(Ok))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;

    print!("{}", PgrxSql::build(entities.into_iter(), "pg_speaker".into(), false)?.to_sql()?);
    Ok(())
}
