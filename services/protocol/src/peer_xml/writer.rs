//! Writing: terse, always well-formed, readable by every XML-RPC library that knows `<nil/>`.

use crate::text;
use dxr::Value;
use std::fmt::Write as _;

const HEAD: &str = "<?xml version=\"1.0\"?>";

/// A call.
#[must_use]
pub fn write_call(method: &str, params: &[Value]) -> String {
    let mut out = String::with_capacity(256);
    out.push_str(HEAD);
    out.push_str("<methodCall><methodName>");
    push_text(&mut out, method);
    out.push_str("</methodName><params>");
    for param in params {
        out.push_str("<param>");
        push_value(&mut out, param);
        out.push_str("</param>");
    }
    out.push_str("</params></methodCall>");
    out
}

/// An answer.
#[must_use]
pub fn write_response(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    out.push_str(HEAD);
    out.push_str("<methodResponse><params><param>");
    push_value(&mut out, value);
    out.push_str("</param></params></methodResponse>");
    out
}

/// An answer that says no.
#[must_use]
pub fn write_fault(code: i32, message: &str) -> String {
    let mut out = String::with_capacity(256);
    out.push_str(HEAD);
    let _infallible = write!(
        out,
        "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>{code}</int></value></member>\
         <member><name>faultString</name><value><string>"
    );
    push_text(&mut out, message);
    out.push_str("</string></value></member></struct></value></fault></methodResponse>");
    out
}

fn push_value(out: &mut String, value: &Value) {
    out.push_str("<value>");
    match value {
        Value::Integer(number) => {
            let _infallible = write!(out, "<int>{number}</int>");
        }
        Value::Boolean(yes) => {
            let _infallible = write!(out, "<boolean>{}</boolean>", u8::from(*yes));
        }
        Value::Double(number) => {
            let _infallible = write!(out, "<double>{number}</double>");
        }
        Value::String(string) => push_string(out, string),
        Value::Struct(members) => {
            out.push_str("<struct>");
            for (name, value) in members {
                out.push_str("<member><name>");
                push_text(out, name);
                out.push_str("</name>");
                push_value(out, value);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
        Value::Array(values) => {
            out.push_str("<array><data>");
            for value in values {
                push_value(out, value);
            }
            out.push_str("</data></array>");
        }
        // A number beyond 32 bits has no place in XML-RPC; it travels as text, as all of ours do.
        Value::Long(number) => push_string(out, &number.to_string()),
        _ => out.push_str("<nil/>"),
    }
    out.push_str("</value>");
}

fn push_string(out: &mut String, string: &str) {
    out.push_str("<string>");
    push_text(out, string);
    out.push_str("</string>");
}

/// Bytes that `text` takes in a document.
#[must_use]
pub fn written_len(text: &str) -> usize {
    text.char_indices()
        .map(|(at, char)| escape(text, at).map_or(char.len_utf8(), str::len))
        .sum()
}

/// What stands for the character at `at`, a place between two characters; `None` if it stands for itself.
fn escape(text: &str, at: usize) -> Option<&'static str> {
    match text.as_bytes()[at] {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\r' => Some("&#13;"),
        byte @ 0..0x20 if byte != b'\n' && byte != b'\t' => Some("\u{FFFD}"),
        0xEF if text[at..].starts_with(text::is_forbidden) => Some("\u{FFFD}"),
        _ => None,
    }
}

/// Escapes what XML wants escaped; what it cannot carry becomes U+FFFD, so that one text never spoils a document.
fn push_text(out: &mut String, string: &str) {
    let mut copied = 0;
    for (at, byte) in string.bytes().enumerate() {
        let Some(escape) = escape(string, at) else { continue };
        out.push_str(&string[copied..at]);
        out.push_str(escape);
        copied = at + if byte == 0xEF { 3 } else { 1 };
    }
    out.push_str(&string[copied..]);
}
