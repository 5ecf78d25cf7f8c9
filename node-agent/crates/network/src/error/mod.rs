//! Why an operation of the network failed, one type each.

mod attach;
mod open;
mod teardown;

pub use attach::{AttachError, PortHolder, ReserveError};
pub use open::{OpenError, PrepareError};
pub use teardown::{RecoverError, StatsError, TeardownError, TeardownErrors};
