//! Why a data directory cannot be used, in words for an operator.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the store was not opened. Nothing was changed.
#[derive(Debug)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// Another process uses it.
    Locked(PathBuf),
    /// It belongs to another node.
    OtherNode {
        /// Whose it is.
        found: String,
        /// Who wanted it.
        wanted: String,
    },
    /// It holds files that are not ours.
    Foreign(PathBuf),
    /// It was used before, but the database is gone.
    Missing(PathBuf),
    /// The database is no database, or not one of ours.
    Corrupt(String),
    /// A later release wrote it.
    Newer {
        /// The schema that was found.
        found: i64,
        /// The newest that this release knows.
        known: i64,
    },
    /// The system refused something else.
    Io(io::Error),
}

impl OpenError {
    /// An error of SQLite while opening.
    pub(super) fn database(why: rusqlite::Error) -> Self {
        Self::Corrupt(why.to_string())
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, why } => write!(f, "data directory {}: {why}", path.display()),
            Self::Locked(path) => write!(f, "data directory {} is in use by another process", path.display()),
            Self::OtherNode { found, wanted } => {
                write!(f, "the data directory belongs to node {found}, this is node {wanted}")
            }
            Self::Foreign(path) => {
                write!(
                    f,
                    "{} holds files of something else; an empty or new directory is needed",
                    path.display()
                )
            }
            Self::Missing(path) => write!(
                f,
                "{} was a data directory but its database is gone; restore it, or use a new directory",
                path.display()
            ),
            Self::Corrupt(why) => write!(f, "the database cannot be used: {why}"),
            Self::Newer { found, known } => write!(
                f,
                "the database has schema {found}, this release knows {known} at most; use the newer release"
            ),
            Self::Io(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for OpenError {}
