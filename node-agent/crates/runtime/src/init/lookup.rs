//! What the files of a container say of users and programs, for whoever is not inside it.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use agent_types::user::User;
use oci_spec::runtime::Process;

use super::Step;
use super::in_root::InRoot;
use super::passwd;
use super::program::Program;
use crate::failure::Failure;
use crate::request::UserRequest;

/// Finds the user that a process is to run as.
pub(crate) fn user(
    root: BorrowedFd<'_>,
    request: &UserRequest<'_>,
    numbers: &oci_spec::runtime::User,
) -> Step<User> {
    passwd::resolve(InRoot(root), request, numbers)
}

/// Returns why a process's program cannot be executed, where the files say so. What lies below one
/// of `hidden`, by its name, is not looked at.
pub(crate) fn missing_program(
    root: BorrowedFd<'_>,
    process: &Process,
    hidden: &[PathBuf],
) -> Option<Failure> {
    let program = Program::new(process, None).ok()?;
    let is_hidden = |path: &Path| hidden.iter().any(|place| path.starts_with(place));
    program.missing_in(InRoot(root), process.cwd(), is_hidden)
}
