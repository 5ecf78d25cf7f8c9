//! Hooks: programs that a specification has run at points of a container's life.
//!
//! Owns: which there are, what they are told, where each is run, and that none takes longer than it
//! may. Does not: know what they are for, or run those of a container that another runtime makes.
//!
//! | stage | run by | where |
//! |---|---|---|
//! | prestart, createRuntime, poststart, poststop | a helper of the caller's | on the host |
//! | createContainer | the same helper | in the container's namespaces, before its root is entered: a program of the host's, which sees the host's files |
//! | startContainer | the container's first process | in the container, with all that confines it: a program of the image's |
//!
//! The caller never waits for a hook: what it asks for is done in an [`Attendant`], a process that
//! is followed with a descriptor. A createContainer hook never lives in a PID namespace that others
//! live in: who may trace there would look at the host through it.
//!
//! Start reading at [`Hooked`], then `run.rs`.

mod attendant;
mod create;
mod hooked;
mod run;

pub use attendant::Ending;
pub(crate) use attendant::{Attendant, start};
pub use create::create_with_hooks;
pub use hooked::Hooked;
