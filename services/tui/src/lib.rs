//! The terminal client, line mode: each line of the input is a message, each event is a line of the output.
//!
//! * [`settings`] the command line, checked;
//! * [`input`] lines from standard input, bounded;
//! * [`mod@format`] what each event looks like;
//! * [`chat`] the conversation: in the extended dialect over one session that outlives its connections (`extended`), or,
//!   with servers that do not speak it, in the classic one (`classic`).

pub mod chat;
mod classic;
mod extended;
pub mod format;
pub mod input;
mod screen;
pub mod settings;
