//! Containers: what one is to be, its life, and the steps of making and removing one.
//!
//! Owns: specifications, records, the life cycle and the steps. Does not: own a container at run
//! time; the sandbox's task does. Start reading at [`state`] and `create`.

mod apparmor;
pub(crate) mod create;
mod devices;
pub mod error;
pub(crate) mod extras;
mod image_mounts;
pub(crate) mod log;
pub mod logs;
mod other;
mod own_volumes;
pub(crate) mod pid;
pub(crate) mod plan;
pub(crate) mod remove;
mod request_error;
pub mod restart;
mod selinux;
pub(crate) mod set_up;
pub mod spec;
mod spec_error;
pub mod state;
pub(crate) mod update;
mod volumes;

pub use error::{
    CreateError, RemoveError, RemoveStepError, SpecError, StartError, StepError, StopError,
};
pub use update::Change;

pub use request_error::{AttachError, ReopenError, ResizeError, UpdateError};
