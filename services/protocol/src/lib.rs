//! What is said between clients, nodes and peers.
//!
//! Everything in this crate is a value or a pure function over values: it cannot wait, open a socket or read a clock.
//! The wire text of every frame and of every peer call is frozen by `tests/golden.rs`.
//!
//! * [`client_frame`] what a client may ask, parsed once and then trusted;
//! * [`server_frame`] what a node may say to a client;
//! * [`message_frame`] the one frame that is encoded once and shared by every recipient;
//! * [`deletion`] what nodes and clients say while a room is being deleted;
//! * [`codec`] the only file that knows JSON;
//! * [`peer_call`] the XML-RPC methods between nodes as typed requests and answers, [`peer_item`] what a link carries,
//!   [`peer_xml`] the XML reader and writer with their limits, [`peer_fault`] how a call is refused;
//! * [`peer_auth`] who makes a call and who answers it;
//! * [`original_call`] the methods of the original system, for a node of it as a peer;
//! * [`trace_context`] where in a trace something was asked for;
//! * [`limits`] every bound that the wire knows, with its arithmetic.

pub mod client_frame;
pub mod close;
pub mod codec;
pub mod deletion;
pub mod ids;
pub mod limits;
pub mod message_frame;
pub mod original_call;
pub mod peer_auth;
pub mod peer_call;
pub mod peer_fault;
pub mod peer_item;
pub mod peer_xml;
pub mod reject;
pub mod server_frame;
pub mod text;
pub mod timestamp;
pub mod trace_context;
pub mod ws_frame;
