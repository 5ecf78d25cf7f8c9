//! The pages of the program's own code.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::ops::Range;

/// Lets go of the program's code in memory; what is needed comes back from the page cache, page by
/// page, as it is run.
///
/// A program that has started, or has just done much, holds code that it will not run for long.
///
/// # Errors
/// When the process cannot read its own memory map, or the kernel refuses.
pub fn let_go() -> io::Result<()> {
    let own: fn() -> io::Result<()> = let_go;
    let maps = BufReader::new(File::open("/proc/self/maps")?);
    for line in maps.lines() {
        let line = line?;
        if let Some(range) = code_range(&line).filter(|range| range.contains(&(own as usize))) {
            return let_go_of(&range);
        }
    }
    Ok(())
}

/// Returns the addresses of a mapping that can be run and not written; from a line of
/// `/proc/<pid>/maps`.
fn code_range(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split(' ');
    let (start, end) = fields.next()?.split_once('-')?;
    if fields.next()? != "r-xp" {
        return None;
    }
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[expect(unsafe_code, reason = "madvise has no safe wrapper")]
fn let_go_of(range: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(range.start);
    // SAFETY: the range is one whole private mapping of the program's file that cannot be written,
    // so its pages are those of the file: each one that is touched again is the same as before.
    let done = unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of the mapping around `address` that are in memory for this process.
    fn resident(address: usize) -> usize {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = text.lines();
        lines
            .find(|line| code_range(line).is_some_and(|range| range.contains(&address)))
            .unwrap();
        let line = lines.find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn the_program_runs_on_with_less_code_in_memory() {
        let before = resident(resident as fn(usize) -> usize as usize);
        let_go().unwrap();
        let after = resident(resident as fn(usize) -> usize as usize);
        assert!(after < before, "{before} KiB, then {after} KiB");
    }

    #[test]
    fn only_what_runs_and_is_never_written_counts_as_code() {
        let line = |rights| format!("55d0a000-55d0c000 {rights} 00001000 08:01 12 /bin/x");
        assert_eq!(code_range(&line("r-xp")), Some(0x55d0_a000..0x55d0_c000));
        for rights in ["rwxp", "r--p", "rw-p", "r-xs"] {
            assert_eq!(code_range(&line(rights)), None, "{rights}");
        }
        assert_eq!(code_range("nonsense"), None);
    }
}
