//! Keeping the heap of a small long-lived process small.

/// Makes the allocator return large blocks to the kernel as soon as they are freed.
///
/// glibc raises its thresholds when large blocks are freed and keeps such blocks from then on;
/// setting the threshold once turns that off.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn keep_small() {
    const LARGE: libc::c_int = 64 * 1024;
    // SAFETY: mallopt takes two numbers and touches only the allocator's own settings.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    // SAFETY: as above.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Limits the number of heaps that threads are spread over; each holds free memory of its own.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn limit(heaps: u8) {
    // SAFETY: mallopt takes two numbers and touches only the allocator's own settings.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps.into()) };
}

/// Gives the free pages of the heap back to the kernel.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub fn trim() {
    // SAFETY: malloc_trim takes a number, locks the allocator itself and frees only unused pages.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Does nothing: this allocator has no such settings.
#[cfg(not(target_env = "gnu"))]
pub fn keep_small() {}

/// Does nothing: this allocator has no such settings.
#[cfg(not(target_env = "gnu"))]
pub fn limit(_heaps: u8) {}

/// Does nothing: this allocator has no such call.
#[cfg(not(target_env = "gnu"))]
pub fn trim() {}
