//! Devices by the names of the Container Device Interface: `vendor.com/class=device`.
//!
//! Owns: reading the specifications that device vendors put into directories, and finding what a
//! container has to get for the devices it names. Does not: touch a device, or know containers.
//!
//! A specification is a JSON or YAML file. The directories come in an order: a device in a later
//! one takes the place of its namesake in an earlier one; two in one directory are neither.
//! Nothing is kept between two calls, because vendors rewrite their files at any time.
//!
//! Start reading at [`Cdi::resolve`].
#![forbid(unsafe_code)]

mod directory;
mod edits;
mod error;
mod name;
mod resolve;
mod spec;
mod yaml;

pub use edits::{DeviceNode, Edits, Hook, Mount};
pub use error::{ResolveError, SpecFileError};
pub use name::DeviceName;
pub use resolve::Cdi;
pub use yaml::YamlError;
