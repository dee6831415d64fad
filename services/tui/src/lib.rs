//! The terminal client, line mode: each line of the input is a message, each event is a line of the output.
//!
//! * [`settings`] the command line, checked;
//! * [`input`] lines from standard input, bounded;
//! * [`format`] what each event looks like;
//! * [`seat`] finding a server and a place in the room;
//! * [`chat`] the conversation, over as many connections as it takes.

pub mod chat;
pub mod format;
pub mod input;
pub mod seat;
pub mod settings;
