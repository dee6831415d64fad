//! What a node answers, typed.

use serde::Deserialize;

/// One room in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoomSummary {
    /// Which room.
    pub room_id: String,
    /// What people call it.
    pub room_name: String,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// Distinct user names in the room, on all nodes.
    pub member_count: u64,
    /// Who administers it.
    pub admin_node: String,
    /// Who may delete it.
    pub creator_id: String,
    /// Where its admin node answers peers; only for rooms of other nodes.
    #[serde(default)]
    pub node_address: Option<String>,
}

/// Answer to `list_rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoomsList {
    /// In order of creation.
    pub rooms: Vec<RoomSummary>,
    /// All there are, also those that did not fit.
    pub total_count: u64,
}

/// Answer to `discover_rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GlobalRooms {
    /// Rooms of the node, then those of its peers.
    pub rooms: Vec<RoomSummary>,
    /// All there are, also those that did not fit.
    pub total_count: u64,
    /// The node, then its peers.
    #[serde(default)]
    pub nodes_queried: Vec<String>,
    /// Those that answered.
    #[serde(default)]
    pub nodes_available: Vec<String>,
    /// Those that did not.
    #[serde(default)]
    pub nodes_unavailable: Vec<String>,
    /// Behind which room the next page begins, if there is one. Only in the extended dialect.
    #[serde(default)]
    pub next: Option<String>,
}

/// Answer to `create_room`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Created {
    /// Which room.
    pub room_id: String,
    /// Its name.
    pub room_name: String,
    /// Who administers it.
    pub admin_node: String,
    /// When.
    pub created_at: String,
}

/// Answer to `join_room`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Joined {
    /// Which room.
    pub room_id: String,
    /// What people call it.
    pub room_name: String,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// Who is in it, the joiner included.
    pub members: Vec<String>,
    /// How many are in it.
    pub member_count: u64,
    /// Who administers it.
    pub admin_node: String,
}

/// Answer to `leave_room`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Left {
    /// As asked.
    pub room_id: String,
    /// As asked.
    pub username: String,
}

/// Answer to `send_message`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// Where.
    pub room_id: String,
    /// Which message it became.
    pub message_id: String,
    /// Its place in the order of the room.
    #[serde(rename = "sequence_number")]
    pub seq: u64,
    /// When the admin node accepted it.
    pub timestamp: String,
}
