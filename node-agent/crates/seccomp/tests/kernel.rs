//! The default filter in the kernel under test. Needs root, without which loading a filter needs
//! no_new_privs; a filter holds for the thread that loads it and ends with it.

use std::thread;

use agent_seccomp::{Cache, Capabilities, KernelVersion, Profile};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

/// What docker gives a container that asks for nothing.
const DOCKERS: u64 = 0xa804_25fb;

/// Runs `what` in a thread with the default filter.
fn confined<T: Send + 'static>(
    capabilities: u64,
    what: impl FnOnce() -> T + Send + 'static,
) -> thread::Result<T> {
    let cache = Cache::new(KernelVersion::running());
    let filter = cache.get(
        &Profile::default_profile(),
        Capabilities::from_bits(capabilities),
    );
    thread::spawn(move || {
        let filter = filter.map_err(|error| error.to_string());
        let loaded = filter.and_then(|filter| {
            agent_sys::process::load_seccomp(filter.as_bytes()).map_err(|error| error.to_string())
        });
        assert_eq!(loaded, Ok(()));
        what()
    })
    .join()
}

fn socket(family: u16) -> Result<(), Errno> {
    rustix::net::socket(AddressFamily::from_raw(family), SocketType::STREAM, None).map(|_| ())
}

#[test]
fn ordinary_work_goes_on_and_the_rest_is_refused() {
    let outcome = confined(DOCKERS, || {
        let directory = std::env::temp_dir();
        assert!(std::fs::read_dir(&directory).is_ok());
        // A program is started, which takes clone, execve, pipes and waiting.
        let output = std::process::Command::new("true").status();
        assert!(output.is_ok_and(|status| status.success()));
        let joined = thread::spawn(|| 7).join();
        assert_eq!(joined.ok(), Some(7));
        assert_eq!(socket(1), Ok(()));
        let forbidden = [
            ("AF_ALG", socket(38)),
            ("AF_VSOCK", socket(40)),
            ("sethostname", rustix::system::sethostname(b"never")),
            ("mount", rustix::mount::mount_bind("/tmp", "/tmp")),
            (
                "umount",
                rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::empty()),
            ),
        ];
        for (name, result) in forbidden {
            assert_eq!(result, Err(Errno::PERM), "{name}");
        }
    });
    assert!(outcome.is_ok());
}

#[test]
fn an_administrator_may_do_more() {
    let admin = DOCKERS | 1 << 21;
    let outcome = confined(admin, || {
        let gone = rustix::mount::unmount("/nowhere-at-all", rustix::mount::UnmountFlags::empty());
        assert_eq!(
            gone,
            Err(Errno::NOENT),
            "the kernel was asked, not the filter"
        );
        assert_eq!(socket(38), Err(Errno::PERM));
    });
    assert!(outcome.is_ok());
}
