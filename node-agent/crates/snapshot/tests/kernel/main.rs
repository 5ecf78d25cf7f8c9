//! The snapshots on a real file system, as root.

mod apply;
mod build;
mod complete;
mod containers;
mod differential;
mod hostile;
mod node;
mod overlay;
mod recovery;
