//! Checks of the project's own shape: floors, sizes, paths named in documents, the CRI contract.
#![forbid(unsafe_code)]

mod cri_contract;
mod documents;
mod floors;
mod shim;
mod sizes;
mod workspace;
