//! Having the kernel count what is read from disks and written to them, on v1.
//!
//! From Linux 6.10 on it begins to count a disk when somebody first gives it a rule of
//! throttling, in any cgroup; a rule without a bound will do. v2 counts by itself.

use std::path::Path;

use crate::tree::Inner;
use crate::{CgroupPath, Version, file};

const DISKS: &str = "/sys/block";

/// Where a rule of throttling is written.
const RULE: &str = "blkio.throttle.read_bps_device";

/// The bound that is none.
const UNBOUNDED: u32 = 0;

/// Has every disk counted; `own` is any cgroup of ours. Where that cannot be, statistics have no
/// input and output, and all else works.
pub(crate) fn count(tree: &Inner, own: &CgroupPath) {
    if tree.version() != Version::V1 {
        return;
    }
    let Some(blkio) = tree.find("blkio") else {
        return;
    };
    let rules = format!("{}/{RULE}", own.relative());
    for numbers in disks(Path::new(DISKS)) {
        if let Err(error) = file::write(blkio.root(), &rules, &format!("{numbers} {UNBOUNDED}")) {
            tracing::debug!(disk = numbers, error = %error, "disk is not counted");
        }
    }
}

/// Returns the numbers of each disk that has a size, as `8:0`. What goes through a loop device is
/// counted on the disk below it.
fn disks(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let disks = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_loop = entry.file_name().as_encoded_bytes().starts_with(b"loop");
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let has_size = read("size")?.trim() != "0";
        (has_size && !is_loop).then_some(read("dev")?.trim().to_owned())
    });
    disks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_have_a_size_and_are_no_loops() {
        let directory = tempfile::tempdir().unwrap();
        for (name, numbers, size) in [
            ("sda", "8:0\n", "4096\n"),
            ("zram0", "253:0\n", "0\n"),
            ("loop0", "7:0\n", "4096\n"),
        ] {
            let disk = directory.path().join(name);
            std::fs::create_dir(&disk).unwrap();
            std::fs::write(disk.join("dev"), numbers).unwrap();
            std::fs::write(disk.join("size"), size).unwrap();
        }
        assert_eq!(disks(directory.path()), ["8:0"]);
        assert!(disks(&directory.path().join("absent")).is_empty());
    }
}
