//! Writes JSON as LINE does: compact, properties in a chosen order, absent instead of null, and characters beyond the
//! basic plane as `\uD83E\uDD28` pairs. A service that re-serialises a body before it verifies the signature fails.

use std::fmt::{self, Display, Formatter, Write};

use serde_json::Value;

/// A JSON value that keeps the order of its properties.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    /// Written as it is: numbers, booleans, or a whole document from a test.
    Raw(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// An object of `fields`, in their order.
pub(super) fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
    Json::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

impl Json {
    /// The property `name`, if this is an object that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The characters of a string or raw value; empty for anything else.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Json::Raw(text) | Json::Text(text) => text,
            _ => "",
        }
    }

    /// Replaces the property `name`, or adds it at the end. A value that is not an object becomes an object first.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Json>) {
        *self.property(name) = value.into();
    }

    /// Appends `value` to the array in the property `name`, which is created if absent.
    pub(super) fn push(&mut self, name: &str, value: Json) {
        let property = self.property(name);
        match property {
            Json::List(items) => items.push(value),
            _ => *property = Json::List(vec![value]),
        }
    }

    /// Removes the property `name`.
    pub(super) fn remove(&mut self, name: &str) {
        if let Json::Object(fields) = self {
            fields.retain(|(key, _)| key != name);
        }
    }

    /// The property `name`, created as an empty object if absent.
    pub(super) fn property(&mut self, name: &str) -> &mut Json {
        if !matches!(self, Json::Object(_)) {
            *self = Json::Object(Vec::new());
        }
        let Json::Object(fields) = self else {
            return self;
        };
        let at = fields
            .iter()
            .position(|(key, _)| key == name)
            .unwrap_or(fields.len());
        if at == fields.len() {
            fields.push((name.to_owned(), Json::Object(Vec::new())));
        }
        &mut fields[at].1
    }
}

impl Display for Json {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Json::Raw(text) => out.write_str(text),
            Json::Text(text) => string(text, out),
            Json::List(items) => {
                out.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(out, "{comma}{item}")?;
                }
                out.write_char(']')
            }
            Json::Object(fields) => {
                out.write_char('{')?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.write_str(if at > 0 { "," } else { "" })?;
                    string(name, out)?;
                    write!(out, ":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn string(text: &str, out: &mut Formatter<'_>) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            '\n' => out.write_str("\\n")?,
            ' '..='\u{ffff}' => out.write_char(character)?,
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04X}")?;
                }
            }
        }
    }
    out.write_char('"')
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Text(text)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Json::Raw(number.to_string())
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Json::Raw(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Json::Raw(flag.to_string())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Json::Text(text),
            Value::Array(items) => Json::List(items.into_iter().map(Json::from).collect()),
            Value::Object(fields) => Json::Object(
                fields
                    .into_iter()
                    .map(|(k, v)| (k, Json::from(v)))
                    .collect(),
            ),
            plain => Json::Raw(plain.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Json, object};

    #[test]
    fn keeps_the_order_and_escapes_what_utf16_needs_two_units_for() {
        let json = object([
            ("type", "a\"\\\n\u{1}".into()),
            ("a", "ไทย🤨".into()),
            ("n", Json::List(vec![1.into()])),
        ]);
        assert_eq!(
            json.to_string(),
            "{\"type\":\"a\\\"\\\\\\n\\u0001\",\"a\":\"ไทย\\uD83E\\uDD28\",\"n\":[1]}"
        );
        let back: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();
        assert_eq!(back["a"], "ไทย🤨");
    }
}
