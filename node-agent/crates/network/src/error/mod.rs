//! Why an operation of the network failed, one type each.

mod attach;
mod open;
mod ranges;
mod teardown;

pub use attach::{AttachError, PortHolder, ReserveError};
pub use open::{OpenError, PrepareError};
pub use ranges::RangesError;
pub use teardown::{RecoverError, TeardownError, TeardownErrors};
