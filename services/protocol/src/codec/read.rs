//! Reading JSON as far as a request can mean something by it.
//!
//! A tree of a whole frame of a mebibyte takes a hundred times its size in memory (`[{"":0},{"":0},…`), so what nobody
//! asks for is read and checked, but not kept: other keys than those of a request, and of each field more values than an
//! answer could repeat. What is valid JSON and what is not is the same as without this.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// What an envelope may have.
const ENVELOPE: &[&str] = &["type", "id", "data"];

/// What the data of any request of either dialect may have. A new field of a request is added here.
const DATA: &[&str] = &[
    "after",
    "after_seq",
    "before_seq",
    "client",
    "client_msg_id",
    "content",
    "creator_id",
    "description",
    "from",
    "history",
    "limit",
    "name",
    "protocol",
    "request_id",
    "resume",
    "room_id",
    "room_name",
    "traceparent",
    "user",
    "username",
];

/// Values of one field that are kept. An answer repeats at most 128 bytes of one, which cannot show more.
const VALUES_OF_A_FIELD: usize = 64;

/// A request, if it is JSON.
pub(super) fn request(text: &str) -> Option<Value> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Keep(Place::Request).deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(value)
}

/// Where in a request a value stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    Request,
    Data,
    /// In a field, of which so many more values are kept.
    Field(&'a Cell<usize>),
}

/// Reads a value and keeps what its place has a use for.
struct Keep<'a>(Place<'a>);

/// Reads a value and keeps nothing. Not `IgnoredAny`: that takes numbers and depths that are refused elsewhere.
struct Skip;

impl Place<'_> {
    fn wants(self, key: &str) -> bool {
        match self {
            Self::Request => ENVELOPE.contains(&key),
            Self::Data => DATA.contains(&key),
            Self::Field(left) => left.get() > 0,
        }
    }

    /// Reads the value of a wanted key.
    fn value_of<'de, A: MapAccess<'de>>(self, key: &str, map: &mut A) -> Result<Value, A::Error> {
        match self {
            Self::Request if key == "data" => map.next_value_seed(Keep(Place::Data)),
            Self::Request | Self::Data => map.next_value_seed(Keep(Place::Field(&Cell::new(VALUES_OF_A_FIELD)))),
            Self::Field(_) => map.next_value_seed(Keep(self)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Keep<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        if let Place::Field(left) = self.0 {
            while left.get() > 0 {
                left.set(left.get() - 1);
                match array.next_element_seed(Keep(self.0))? {
                    Some(value) => kept.push(value),
                    None => {
                        left.set(left.get() + 1);
                        return Ok(Value::Array(kept));
                    }
                }
            }
        }
        while array.next_element_seed(Skip)?.is_some() {}
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = object.next_key_seed(Key(self.0))? {
            let Some(key) = key else {
                object.next_value_seed(Skip)?;
                continue;
            };
            if let Place::Field(left) = self.0 {
                left.set(left.get() - 1);
            }
            let value = self.0.value_of(&key, &mut object)?;
            kept.insert(key, value);
        }
        Ok(Value::Object(kept))
    }
}

/// Reads a key; keeps it only if its value is wanted.
struct Key<'a>(Place<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<String>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<String>, E> {
        Ok(self.0.wants(key).then(|| key.to_owned()))
    }
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_key_seed(Self)?.is_some() {
            object.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts near JSON: whole values, cut, damaged and nested ones.
    fn nearly_json() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![
                Just("["),
                Just("]"),
                Just("{"),
                Just("}"),
                Just(","),
                Just(":"),
                Just("\"type\""),
                Just("\"data\""),
                Just("\"content\""),
                Just("\"x\""),
                Just("0"),
                Just("-1e5"),
                Just("1e999"),
                Just("null"),
                Just("true"),
                Just("\"\\ud800\""),
                Just(" "),
                Just("{\"\":0},"),
                Just("[[[[[[[[[["),
                Just("]]]]]]]]]]"),
            ],
            0..40,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_json_is_the_same_whether_it_is_kept_or_not(text in nearly_json()) {
            let whole: Option<Value> = serde_json::from_str(&text).ok();
            let kept = request(&text);
            prop_assert_eq!(kept.is_some(), whole.is_some());
        }

        #[test]
        fn a_request_is_kept_as_it_is(
            kind in any::<Option<String>>(),
            texts in prop::collection::vec((0..DATA.len(), any::<String>()), 0..9),
            seq in any::<u64>(),
        ) {
            let mut data: Map<String, Value> =
                texts.into_iter().map(|(at, text)| (DATA[at].to_owned(), text.into())).collect();
            data.insert("from".into(), serde_json::json!({"gen": seq, "seq": -1.5, "x": [true, null, [], {}]}));
            let whole = serde_json::json!({"type": kind, "id": seq, "data": data});
            prop_assert_eq!(request(&whole.to_string()), Some(whole));
        }
    }

    #[test]
    fn what_nobody_asks_for_is_checked_and_not_kept() {
        let text = format!(
            r#"{{"x":[{}1],"type":"t","data":{{"y":{{}},"limit":2}}}}"#,
            "{\"\":0},".repeat(1_000)
        );
        let kept = serde_json::json!({"type": "t", "data": {"limit": 2}});
        assert_eq!(request(&text), Some(kept));
        assert_eq!(request(&text.replace("1]", "]")), None, "a comma before a bracket");
        let deep = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(request(&deep(100)).is_some());
        assert_eq!(
            request(&deep(128)),
            None,
            "deeper than a reader without recursion would mind"
        );
    }

    #[test]
    fn of_a_field_no_more_is_kept_than_an_answer_could_show() {
        let many = format!(r#"{{"type":[{}0]}}"#, "[0],".repeat(1_000));
        let Some(Value::Object(kept)) = request(&many) else {
            panic!("JSON")
        };
        assert_eq!(kept["type"].as_array().map(Vec::len), Some(VALUES_OF_A_FIELD / 2));
        let whole: Value = serde_json::from_str(&many).expect("JSON");
        let shown = whole["type"].to_string();
        assert_eq!(kept["type"].to_string()[..127], shown[..127]);
    }
}
