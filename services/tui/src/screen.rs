//! Where lines go.

use std::io::{self, Write};

/// Two places, so that a pipe gets the conversation and a person also sees what happens to the connection.
pub(crate) struct Screen<'a> {
    /// What is said in the room, and what becomes of the lines.
    pub(crate) out: &'a mut (dyn Write + Send),
    /// What happens to the connection.
    pub(crate) notices: &'a mut (dyn Write + Send),
}

impl Screen<'_> {
    /// One output, at once: a reader at the other end of a pipe waits for it.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// Something about the connection. Without it the conversation goes on all the same.
    pub(crate) fn notice(&mut self, line: &str) {
        let _told = writeln!(self.notices, "{line}");
    }
}
