//! Whole conversations against servers whose every word a test decides.

#[path = "conversation/classic.rs"]
mod classic;
#[path = "conversation/extended.rs"]
mod extended;
#[path = "conversation/host.rs"]
mod host;
