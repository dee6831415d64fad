//! The data directory: whose it is, that nobody else uses it, and that nothing is ever started anew where something was.
//!
//! Files: `LOCK` (held exclusively for the life of the process), `NODE` (the node's id, written once), `chat.db` and
//! SQLite's files beside it. A new directory is made in an order that can be interrupted anywhere: the database is built
//! as `chat.db.new`, then `NODE` is written, then the database gets its name.

use super::error::OpenError;
use super::migrations;
use chat_protocol::ids::NodeId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LOCK: &str = "LOCK";
const NODE: &str = "NODE";
const DATABASE: &str = "chat.db";
const NEW: &str = ".new";

/// A directory that this process alone uses, as long as the value lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes a directory for a node, making it if there is none.
    pub(super) fn open(path: &Path, node_id: &NodeId) -> Result<Self, OpenError> {
        let failed = |why| OpenError::Directory {
            path: path.to_owned(),
            why,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.to_owned())),
            Err(TryLockError::Error(why)) => return Err(failed(why)),
        }
        let this = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        this.check_or_make(node_id)?;
        Ok(this)
    }

    /// Where the database is.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    fn failed(&self, why: io::Error) -> OpenError {
        OpenError::Directory {
            path: self.path.clone(),
            why,
        }
    }

    fn check_or_make(&self, node_id: &NodeId) -> Result<(), OpenError> {
        let fresh = self.path.join(format!("{DATABASE}{NEW}"));
        match fs::read_to_string(self.path.join(NODE)) {
            Ok(found) if found != node_id.as_str() => {
                return Err(OpenError::OtherNode {
                    found,
                    wanted: node_id.to_string(),
                });
            }
            Ok(_) if self.database().exists() => return Ok(()),
            Ok(_) if fresh.exists() => {}
            Ok(_) => return Err(OpenError::Missing(self.path.clone())),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                self.check_unused()?;
                self.remove_unfinished()?;
                migrations::create(&fresh)?;
                self.write_node(node_id).map_err(|why| self.failed(why))?;
            }
            Err(why) => return Err(self.failed(why)),
        }
        fs::rename(&fresh, self.database())
            .and_then(|()| self.sync())
            .map_err(|why| self.failed(why))
    }

    /// A directory without our mark must be empty, but for what an interrupted start left.
    fn check_unused(&self) -> Result<(), OpenError> {
        for entry in fs::read_dir(&self.path).map_err(|why| self.failed(why))? {
            let name = entry.map_err(|why| self.failed(why))?.file_name();
            let name = name.to_string_lossy();
            // `lost+found` is on every fresh volume.
            if name != LOCK && name != "lost+found" && !name.contains(NEW) {
                return Err(OpenError::Foreign(self.path.clone()));
            }
        }
        Ok(())
    }

    fn remove_unfinished(&self) -> Result<(), OpenError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            match fs::remove_file(self.path.join(format!("{DATABASE}{NEW}{suffix}"))) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(self.failed(why)),
                _ => {}
            }
        }
        Ok(())
    }

    fn write_node(&self, node_id: &NodeId) -> io::Result<()> {
        let fresh = self.path.join(format!("{NODE}{NEW}"));
        let mut file = File::create(&fresh)?;
        file.write_all(node_id.as_str().as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, self.path.join(NODE))?;
        self.sync()
    }

    /// Makes the names in the directory durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
