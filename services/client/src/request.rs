//! The texts of requests.

use chat_protocol::codec::push_json_string;

/// The rooms that the node administers.
#[must_use]
pub fn list_rooms() -> String {
    r#"{"type":"list_rooms"}"#.into()
}

/// The rooms of all nodes.
#[must_use]
pub fn discover_rooms() -> String {
    r#"{"type":"discover_rooms"}"#.into()
}

/// A new room.
#[must_use]
pub fn create_room(room_name: &str, creator_id: &str, description: Option<&str>) -> String {
    let mut fields = vec![("room_name", room_name), ("creator_id", creator_id)];
    fields.extend(description.map(|text| ("description", text)));
    object("create_room", &fields)
}

/// Speak the extended dialect from here on.
#[must_use]
pub fn hello(user: &str) -> String {
    let name = object("hello", &[("user", user)]);
    name.replacen(r#""data":{"#, r#""data":{"protocol":2,"#, 1)
}

/// Become a member.
#[must_use]
pub fn join_room(room_id: &str, username: &str) -> String {
    object("join_room", &[("room_id", room_id), ("username", username)])
}

/// Stop being a member.
#[must_use]
pub fn leave_room(room_id: &str, username: &str) -> String {
    object("leave_room", &[("room_id", room_id), ("username", username)])
}

/// Say something.
#[must_use]
pub fn send_message(room_id: &str, username: &str, content: &str) -> String {
    object(
        "send_message",
        &[("room_id", room_id), ("username", username), ("content", content)],
    )
}

fn object(kind: &str, fields: &[(&str, &str)]) -> String {
    let size: usize = fields.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
    let mut out = String::with_capacity(size + 48);
    out.push_str(r#"{"type":"#);
    push_json_string(&mut out, kind);
    out.push_str(r#","data":{"#);
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json_string(&mut out, key);
        out.push(':');
        push_json_string(&mut out, value);
    }
    out.push_str("}}");
    out
}

/// The `type` of a frame that begins with it, as those of every known server do; `""` otherwise.
#[must_use]
pub fn type_of(frame: &str) -> &str {
    let rest = frame
        .strip_prefix(r#"{"type":"#)
        .map(|rest| rest.trim_start_matches(' '));
    rest.and_then(|rest| rest.strip_prefix('"'))
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_wire_wants() {
        assert_eq!(
            create_room("har\"bour", "ines", None),
            r#"{"type":"create_room","data":{"room_name":"har\"bour","creator_id":"ines"}}"#
        );
        assert_eq!(
            create_room("h", "i", Some("d")),
            r#"{"type":"create_room","data":{"room_name":"h","creator_id":"i","description":"d"}}"#
        );
        assert_eq!(
            join_room("r", "u"),
            r#"{"type":"join_room","data":{"room_id":"r","username":"u"}}"#
        );
        assert_eq!(
            leave_room("r", "u"),
            r#"{"type":"leave_room","data":{"room_id":"r","username":"u"}}"#
        );
        assert_eq!(
            send_message("r", "u", "a\nb"),
            r#"{"type":"send_message","data":{"room_id":"r","username":"u","content":"a\nb"}}"#
        );
        let hello = chat_protocol::codec::hello(&hello("i\"nes"));
        assert_eq!(hello.unwrap().unwrap().user.as_str(), "i\"nes");
        assert!(chat_protocol::codec::parse(&list_rooms()).is_ok());
        assert!(chat_protocol::codec::parse(&discover_rooms()).is_ok());
    }

    #[test]
    fn the_type_is_found_with_and_without_a_space() {
        assert_eq!(type_of(r#"{"type":"error","data":{}}"#), "error");
        assert_eq!(type_of(r#"{"type": "error", "data": {}}"#), "error");
        assert_eq!(type_of(r#"{"data":{},"type":"error"}"#), "");
        assert_eq!(type_of(""), "");
    }
}
