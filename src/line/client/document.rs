//! The profile of a user or the summary of a group, as LINE wrote it.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A profile or a group summary: LINE's JSON, unchanged, so that unknown fields are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Vec<u8>);

/// Each field is parsed alone, so that an unreadable field does not affect the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, alias = "groupName")]
    display_name: Option<&'a RawValue>,
    #[serde(borrow)]
    picture_url: Option<&'a RawValue>,
}

impl Document {
    /// Takes the bytes of a JSON object; `None` if they are anything else.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let object = bytes.trim_ascii_start().starts_with(b"{")
            && serde_json::from_slice::<Fields<'_>>(&bytes).is_ok();
        object.then_some(Self(bytes))
    }

    /// The bytes of LINE's JSON, unchanged.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `displayName` of a user, `groupName` of a group; `None` if missing or unreadable.
    pub fn display_name(&self) -> Option<String> {
        text(self.fields()?.display_name)
    }

    /// `pictureUrl`; `None` if missing or unreadable. The URL is untrusted: fetch it only with protection against SSRF.
    pub fn picture_url(&self) -> Option<String> {
        text(self.fields()?.picture_url)
    }

    fn fields(&self) -> Option<Fields<'_>> {
        serde_json::from_slice(&self.0).ok()
    }
}

fn text(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

/// Shows no content.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> Document {
        Document::new(json.into()).unwrap()
    }

    #[test]
    fn people_and_groups_have_names_and_pictures() {
        let person = document(r#"{"displayName":"あおい","pictureUrl":"https://p/1","new":[1]}"#);
        assert_eq!(person.display_name().as_deref(), Some("あおい"));
        assert_eq!(person.picture_url().as_deref(), Some("https://p/1"));
        let group = document(r#"{"groupId":"C1","groupName":"Team"}"#);
        assert_eq!(group.display_name().as_deref(), Some("Team"));
        assert_eq!(group.picture_url(), None);
    }

    #[test]
    fn a_field_that_cannot_be_read_costs_no_other() {
        let odd = document(r#"{"displayName":"\ud800","pictureUrl":"https://p/1"}"#);
        assert_eq!(odd.display_name(), None);
        assert_eq!(odd.picture_url().as_deref(), Some("https://p/1"));
        assert_eq!(document(r#"{"displayName":7}"#).display_name(), None);
    }

    #[test]
    fn only_an_object_is_a_document() {
        for wrong in [
            "",
            "null",
            "[]",
            "[\"a\",\"b\"]",
            "\"x\"",
            "<html>",
            "{\"displayName\":",
        ] {
            assert_eq!(Document::new(wrong.into()), None, "{wrong}");
        }
    }

    #[test]
    fn its_debug_form_keeps_the_name_to_itself() {
        assert_eq!(
            format!("{:?}", document(r#"{"displayName":"Aoi"}"#)),
            "Document"
        );
    }
}
