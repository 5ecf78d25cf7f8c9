//! Random bytes for ids.

use std::io;

/// Returns 32 bytes of the kernel's generator.
///
/// # Errors
/// When the kernel has none to give.
pub(crate) fn bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
