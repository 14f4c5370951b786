//! The JSON Schema of the report, from the types that are written into it.

use ecr_forecast::policy::schema::{first_paragraph, words_in_one_list};
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Value, json};

use super::report::CheckReport;

/// The schema of `CheckReport`, which `docs/check-report.schema.json` holds.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<CheckReport>();
    schema.insert("$id".to_owned(), json!("https://ecraccess.dev/schemas/v1alpha1/check-report.json"));
    rewrite(&mut schema);
    schema.to_value()
}

fn rewrite(schema: &mut Schema) {
    words_in_one_list(schema);
    first_paragraph(schema);
    // Only a whole number in Rust has a format other than that of a moment, and no program that reads JSON knows it.
    if schema.get("format").is_some_and(|format| format != "date-time") {
        schema.remove("format");
    }
    match schema.get("properties") {
        Some(_) => schema.insert("additionalProperties".to_owned(), json!(false)),
        // Any object, which needs no words.
        None => schema.remove("additionalProperties"),
    };
    transform_subschemas(&mut rewrite, schema);
}
