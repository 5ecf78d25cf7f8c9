//! Safe doors to Linux: one module per kernel facility, blocking, each error naming its step.
//!
//! Owns: descriptors, namespaces, mounts and the few blocks of unsafe code they need.
//! Does not: know sandboxes, records, async or any wire format.

pub mod bpf;
pub mod code;
pub mod fdpass;
pub mod heap;
pub mod memfd;
pub mod mount;
pub mod netns;
pub mod oom;
pub mod pivot;
pub mod process;
pub mod procfs;
pub mod rootdir;
pub mod signal;
pub mod slim;
pub mod spread;
