//! The conversation, in the dialect that the server speaks.

use crate::input::Input;
use crate::screen::Screen;
use crate::settings::{Dialect, Settings};
use crate::{classic, extended, format};
use std::io::{self, Write};
use tokio::sync::mpsc;

/// How the conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every line is confirmed.
    AllSent,
    /// Some line was refused, or its outcome is unknown.
    NotAllSent,
    /// No server took us in, or none would again.
    NoServer,
}

/// Talks until the input ends: what is said in the room, and what becomes of the lines, goes to `out`; what happens to
/// the connection goes to `notices`. Must be called within a tokio runtime.
///
/// # Errors
/// If `out` cannot be written.
pub async fn chat(
    settings: &Settings,
    mut lines: mpsc::Receiver<Input>,
    out: &mut (dyn Write + Send),
    notices: &mut (dyn Write + Send),
) -> io::Result<End> {
    let mut screen = Screen { out, notices };
    let end = match settings.dialect {
        Dialect::Classic => classic::chat(settings, &mut lines, &mut screen).await?,
        Dialect::Extended => match extended::chat(settings, &mut lines, &mut screen).await? {
            extended::Outcome::End(end) => end,
            extended::Outcome::NotSpoken(why) => {
                screen.notice(&format::fallback(&why));
                classic::chat(settings, &mut lines, &mut screen).await?
            }
        },
    };
    // Lines that were read and will not be sent are shown.
    lines.close();
    while let Ok(Input::Line(text) | Input::TooLong(text)) = lines.try_recv() {
        screen.say(&format::not_sent("no place in the room", &text))?;
    }
    if end == End::NoServer {
        screen.notice(&format::trouble("giving up"));
    }
    Ok(end)
}
