//! Load on a chat server, and the check of what it promises.
//!
//! * [`scenario`] what to do, checked once;
//! * [`run`] the whole of it: prepare, pace, measure, drain, report;
//! * `worker` one thread with its rooms: connections, sending on time, receiving;
//! * [`check`] the promises about one room;
//! * [`endure`] sessions that stay while nodes do not, and the comparison with what the rooms hold;
//! * [`floor`] the simplest server that could do the work, as a yardstick;
//! * [`hostile`] neighbours that do harm;
//! * [`idle`] what a connection costs that does nothing;
//! * [`once`] what it costs that a send happens once;
//! * [`resume`] how long it takes until everybody is back after a kill.

pub mod args;
pub mod check;
pub mod endure;
pub mod floor;
pub mod hostile;
pub mod idle;
mod limits;
pub mod once;
pub mod proc_stat;
pub mod report;
pub mod resume;
mod run;
pub mod scenario;
pub mod stamp;
mod tally;
mod timer;
pub mod violations;
mod worker;

pub use limits::raise_open_files;
pub use run::{CannotRun, run};
