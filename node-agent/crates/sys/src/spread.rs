//! Where a disk's file system puts new directories.

use std::os::fd::BorrowedFd;

use rustix::fs::IFlags;

/// Asks ext4 to put each directory made in `directory` from now on, with all that is in it, in a
/// part of the disk of its own, as it does with home directories (`chattr +T`, Linux 2.6).
///
/// ext4 without a journal searches for a free inode past all those deleted in the last minutes
/// (`recently_deleted`), one by one: where many directories come and go in one place, that is
/// most of what a container's start or a layer's unpacking costs. Elsewhere nothing is lost. Other
/// file systems decline, which is as good.
pub fn subdirectories(directory: BorrowedFd<'_>) {
    // The only failure is that of a hint.
    let _ = rustix::fs::ioctl_getflags(directory)
        .and_then(|flags| rustix::fs::ioctl_setflags(directory, flags | IFlags::TOPDIR));
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn any_directory_is_taken_and_an_ext4_one_is_marked() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::open(directory.path()).unwrap();
        let magic = rustix::fs::fstatfs(&file).unwrap().f_type;
        subdirectories(file.as_fd());
        // EXT4_SUPER_MAGIC of linux/magic.h.
        if magic == 0xef53 {
            let flags = rustix::fs::ioctl_getflags(&file).unwrap();
            assert!(flags.contains(IFlags::TOPDIR), "{flags:?}");
        }
        std::fs::create_dir(directory.path().join("sub")).unwrap();
    }
}
