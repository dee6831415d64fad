//! What is decided, without doing any of it.
//!
//! A machine takes one input at a time and appends to a list of effects that somebody else performs. It has no socket, no
//! task, no clock and no chance: time comes as an argument ([`time::Now`]), ids come with the input. So a test is a
//! state, an input and the exact list of effects, and whatever can go wrong outside (a late answer, a repeated one, none
//! at all) is just another input.

pub mod deletion;
pub mod directory;
pub mod effect;
mod invariant;
pub mod membership;
pub mod room;
pub mod stored;
pub mod time;

#[cfg(test)]
mod testing;
