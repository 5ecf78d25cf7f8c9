//! The machine is as it was found.
#![forbid(unsafe_code)]

mod failures;
mod machine;
mod namespaces;
