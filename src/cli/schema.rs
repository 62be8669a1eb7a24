//! The command `config schema`: the JSON schema of the options of a source, destination or store.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Error, ExitStatus, output};
use crate::{
    config::{ICLOUD, Kind, OPTIONS, OptionSpec, PLAKAR_KEYS},
    rclone::{BackendOption, Rclone},
};

/// Print the JSON schema of all options, which the packages contain.
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    /// Prints the schema.
    pub async fn run(self) -> Result<ExitStatus, Error> {
        let backend = Rclone::start().backend_options(ICLOUD).await?;
        output::print_json(&schema(&backend))?;
        Ok(ExitStatus::Success)
    }
}

/// Returns the schema of this program's options and those of the backend. plakar's own keys and
/// options of other backends are allowed, too.
fn schema(backend: &[BackendOption]) -> Value {
    let mut properties = Map::new();
    let location = "icloud:// and the path of a folder in the drive";
    properties.insert("location".to_owned(), json!({ "type": "string", "minLength": 1, "description": location }));
    for option in backend {
        properties.insert(option.name.clone(), of_backend(option));
    }
    // An option of this program replaces one of the backend with the same name.
    for option in &OPTIONS {
        properties.insert(option.name.to_owned(), of_program(option));
    }
    for key in PLAKAR_KEYS {
        properties
            .entry(key)
            .or_insert_with(|| json!({ "type": "string", "description": "an option of plakar itself" }));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Options of plakar-icloud",
        "type": "object",
        "required": ["location"],
        "properties": properties,
        "patternProperties": { "^(rclone_|remote\\.)": { "type": "string" } },
    })
}

fn of_program(option: &OptionSpec) -> Value {
    let default = option.default.trim_matches('`');
    let mut property = match option.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Path => json!({ "type": "string", "pattern": "^/" }),
        Kind::Number(least) => {
            let default = default.parse::<u16>().unwrap_or(least);
            json!({ "type": "integer", "minimum": least, "maximum": u16::MAX, "default": default })
        }
        Kind::Flag => json!({ "type": "boolean", "default": default == "true" }),
        Kind::Word(words) => json!({ "type": "string", "enum": words, "default": default }),
    };
    property["description"] = option.meaning.replace('`', "").into();
    property
}

fn of_backend(option: &BackendOption) -> Value {
    let kind = match option.kind.as_str() {
        "bool" => "boolean",
        "int" => "integer",
        "float64" => "number",
        _ => "string",
    };
    let mut property = json!({ "type": kind, "description": option.help.replace("\n\n", " ").replace('\n', " ") });
    if !option.default_text.is_empty() {
        property["default"] = match kind {
            "string" => option.default_text.as_str().into(),
            // The text of a number or a boolean is JSON.
            _ => serde_json::from_str(&option.default_text).unwrap_or_default(),
        };
    }
    property
}
