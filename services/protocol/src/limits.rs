//! Every bound of the wire, in one place, with the arithmetic behind it.
//!
//! Bounds of queues, waits and maps inside a node are configuration and live in `chat-node`'s `config`; they are checked
//! against these at start-up. What must hold between two constants is asserted at compile time at the end of this file.

/// Largest message accepted from a client, in bytes after reassembly of fragments. A larger one closes the connection
/// with 1009. It is the limit of the original server.
pub const MAX_INBOUND_FRAME: usize = 1 << 20;

/// Largest text frame sent to a client, in bytes of payload. The original client closes a connection on which a larger
/// one arrives, so lists are cut to fit.
pub const MAX_OUTBOUND_FRAME: usize = (1 << 20) - 1;

/// Longest message content, in Unicode code points.
pub const MAX_CONTENT_CHARS: usize = 5_000;

/// Longest user or room name, in Unicode code points.
pub const MAX_NAME_CHARS: usize = 128;

/// Longest room description, in Unicode code points.
pub const MAX_DESCRIPTION_CHARS: usize = 1_024;

/// Longest room, message, node or transaction id, in bytes. Ours are 36 bytes; those of original nodes are opaque.
pub const MAX_ID_BYTES: usize = 128;

/// Longest text by which another node explains a refusal, in bytes; the rest is cut.
pub const MAX_REFUSAL_BYTES: usize = 1_000;

/// Longest `client_msg_id`, in bytes of printable ASCII.
pub const MAX_CLIENT_MSG_ID_BYTES: usize = 64;

/// Most messages that a classic join hands out. The original client holds at most 1,000 messages that wait.
pub const CLASSIC_HISTORY: u64 = 1_000;

/// Most messages that the first user behind an original node gets, as the original hands out. Later ones get as many as
/// there are since, at most [`CLASSIC_HISTORY`]: the numbers of a node cannot begin anew for one of them.
pub const ORIGINAL_HISTORY: u64 = 100;

/// Most messages that an extended join hands out.
pub const EXTENDED_HISTORY: u64 = 1_000;

/// What an extended join hands out if it does not say.
pub const DEFAULT_HISTORY: u64 = 100;

/// Most messages of one `read_history`.
pub const MAX_HISTORY_PAGE: u64 = 500;

/// Most requests of one extended session that are under way at once.
pub const MAX_PIPELINE: usize = 16;

/// Longest request id of the extended dialect, in characters.
pub const MAX_REQUEST_ID_CHARS: usize = 64;

/// Longest text by which a client names itself, in characters.
pub const MAX_CLIENT_CHARS: usize = 128;

/// Most rooms of one page of a list.
pub const MAX_LIST_PAGE: usize = 1_000;

/// Most nodes that the progress of a deletion names as ready, and as waited for.
pub const MAX_PROGRESS_NODES: usize = 256;

/// Highest sequence number: XML-RPC integers have 32 bits and a sign.
pub const MAX_SEQ: u64 = i32::MAX as u64;

/// Latest life of a node: milliseconds since 1970 until the year 2248. Numbers of connections begin with one.
pub const MAX_INCARNATION: u64 = (1 << 43) - 1;

/// Highest index of an item on a link. No life of a node sends as many.
pub const MAX_LINK_INDEX: u64 = 1 << 62;

/// Bytes that a JSON string may need per code point: four in UTF-8; a quote, a backslash or a line feed needs two, and
/// the characters that would need six (`\u0001`) are refused as forbidden.
pub const MAX_JSON_BYTES_PER_CHAR: usize = 4;

/// Largest `new_message` frame, in bytes of payload.
pub const MAX_MESSAGE_FRAME: usize =
    MAX_JSON_BYTES_PER_CHAR * (MAX_CONTENT_CHARS + MAX_NAME_CHARS) + 4 * MAX_ID_BYTES + 256;

/// Most rooms that one call asks the heads of: as many take some milliseconds of a thread that reads.
pub const MAX_HEADS: usize = 500;

/// Deepest nesting of an XML-RPC body, in elements. A call of ours needs 15.
pub const MAX_XML_DEPTH: usize = 32;

/// Most members of one structure in an XML-RPC body. The largest of ours, and of an original node, has ten.
pub const MAX_XML_MEMBERS: usize = 256;

/// Most messages of an item that can say to which trace they belong: as many as a room stores at once.
pub const MAX_ITEM_TRACES: usize = 256;

/// Most elements of an XML-RPC request.
pub const MAX_REQUEST_ELEMENTS: usize = 50_000;

/// Largest body of an XML-RPC request, in bytes.
pub const MAX_REQUEST_BODY: usize = 1 << 20;

/// Most elements of an XML-RPC response: a room list of 4 MiB has about 20,000 rooms of 30 elements.
pub const MAX_RESPONSE_ELEMENTS: usize = 700_000;

/// Largest body of an XML-RPC response, in bytes; `get_hosted_rooms` is cut to stay below it.
pub const MAX_RESPONSE_BODY: usize = 4 << 20;

/// Longest signature of a call between nodes: three ids of which each byte may be written as three, a challenge, two numbers,
/// a hash and a MAC.
pub const MAX_SIGNATURE_BYTES: usize = 3 * 3 * MAX_ID_BYTES + 32 + 2 * 20 + 2 * 64 + 16;

/// Calls of one node to another that may overtake each other: as many as it can begin in three seconds, the longest that one
/// is waited for, at 5,000 a second. One bit each.
pub const REPLAY_WINDOW: u64 = 16_384;

/// Most other nodes that a node calls.
pub const MAX_PEERS: usize = 256;

const _: () = {
    // One message always fits into a frame, and a full page of a few of them into one peer call.
    assert!(MAX_MESSAGE_FRAME < MAX_OUTBOUND_FRAME);
    assert!(MAX_MESSAGE_FRAME * 8 < MAX_REQUEST_BODY);
    // A peer call that carries one message of any content fits although XML may turn one byte into five (`&amp;`).
    assert!(5 * MAX_MESSAGE_FRAME + 4_096 < MAX_REQUEST_BODY);
    // What we accept as one frame can be answered by one frame that echoes its ids.
    assert!(4 * MAX_ID_BYTES + 4 * MAX_NAME_CHARS < MAX_OUTBOUND_FRAME);
    // So do the ids of nodes, of which JSON may make two bytes each.
    assert!(2 * MAX_PROGRESS_NODES * (2 * MAX_ID_BYTES + 3) + 4_096 < MAX_OUTBOUND_FRAME);
    // The traces of a delivery fit a call beside the longest message.
    assert!(MAX_ITEM_TRACES * 80 + 5 * MAX_MESSAGE_FRAME < MAX_REQUEST_BODY / 2);
    assert!(MAX_REQUEST_BODY <= MAX_RESPONSE_BODY);
    assert!(MAX_REQUEST_ELEMENTS <= MAX_RESPONSE_ELEMENTS);
    assert!(CLASSIC_HISTORY < MAX_SEQ);
    assert!(ORIGINAL_HISTORY <= CLASSIC_HISTORY);
};
