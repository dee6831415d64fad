//! A room at its admin node: state, input, and the exact list of effects.

mod coming_and_going;
mod deletion;
mod history;
mod numbering;
mod originals;
mod seats;
mod uncertain;
