//! The WebSocket framing of what a server sends: an unmasked header and the payload, in one allocation that every
//! recipient shares (RFC 6455 section 5.2).

use bytes::{BufMut, Bytes, BytesMut};

/// Longest header of an unmasked frame, in bytes.
pub const MAX_HEADER: usize = 10;

const FIN_TEXT: u8 = 0x81;
const FIN_CLOSE: u8 = 0x88;
const FIN_PING: u8 = 0x89;
const FIN_PONG: u8 = 0x8A;

fn put_header(out: &mut BytesMut, first: u8, payload: usize) {
    out.put_u8(first);
    // The two bounds are those of RFC 6455: 125 in the second byte itself, then 16 bits, then 64.
    if let Ok(short @ 0..=125) = u8::try_from(payload) {
        out.put_u8(short);
    } else if let Ok(medium) = u16::try_from(payload) {
        out.put_u8(126);
        out.put_u16(medium);
    } else {
        out.put_u8(127);
        out.put_u64(payload as u64);
    }
}

fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    let payload = parts.iter().map(|p| p.len()).sum();
    let mut out = BytesMut::with_capacity(MAX_HEADER + payload);
    put_header(&mut out, first, payload);
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

/// A whole text message whose payload is the concatenation of `parts`, which must be UTF-8 together.
#[must_use]
pub fn text(parts: &[&[u8]]) -> Bytes {
    frame(FIN_TEXT, parts)
}

/// A close frame. `reason` is cut to the 123 bytes that fit.
#[must_use]
pub fn close(code: u16, reason: &str) -> Bytes {
    frame(
        FIN_CLOSE,
        &[&code.to_be_bytes(), crate::text::prefix(reason, 123).as_bytes()],
    )
}

/// A ping without payload.
#[must_use]
pub fn ping() -> Bytes {
    Bytes::from_static(&[FIN_PING, 0])
}

/// The pong that answers a ping with `payload`, cut to the 125 bytes that a control frame may have.
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    frame(FIN_PONG, &[&payload[..payload.len().min(125)]])
}

/// Bytes of the header of an unmasked frame, from its second byte.
#[must_use]
pub fn header_len(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

/// The payload of a frame that this module made.
#[must_use]
pub fn payload(frame: &[u8]) -> &[u8] {
    frame.get(header_len(frame)..).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_grow_at_the_bounds_of_the_rfc() {
        for (len, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let body = vec![b'x'; len];
            let made = text(&[&body]);
            assert_eq!(&made[..header.len()], &header[..]);
            assert_eq!(payload(&made), &body[..]);
        }
    }

    #[test]
    fn a_close_frame_carries_code_and_reason() {
        assert_eq!(&close(1012, "bye")[..], &[0x88, 5, 0x03, 0xf4, b'b', b'y', b'e']);
        assert_eq!(close(1000, &"ä".repeat(100)).len(), 2 + 2 + 122);
    }
}
