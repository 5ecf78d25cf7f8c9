//! What a container finds mounted.

use std::fs;
use std::os::fd::AsFd;

use agent_runtime::{SharedMount, VolumeMount};
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, bind, detached};
use crate::session::Session;

pub(crate) const CASES: &[Case] = &[
    ("masked_paths_are_empty", masked),
    ("readonly_paths_cannot_be_written", read_only_paths),
    ("the_usual_devices_work", devices),
    ("listed_devices_are_made", listed_devices),
    ("a_tmpfs_has_its_options", tmpfs),
    ("volumes_are_attached_by_descriptor", volumes),
    ("a_read_only_volume_cannot_be_written", read_only_volume),
    (
        "a_recursively_read_only_volume_has_no_writable_part",
        recursive,
    ),
    ("propagation_is_as_asked", propagation),
    ("files_of_the_state_directory_are_bound_by_path", by_path),
    ("containers_share_their_sandboxs_shm", shm),
    ("nothing_of_the_host_is_mounted", host),
    ("nothing_of_a_callers_stacked_root_is_left", stacked),
    ("an_unknown_option_is_refused_with_its_name", unknown),
];

fn masked() {
    let fixture = Fixture::new();
    let script = "wc -c < /proc/keys; wc -c < /proc/timer_list; ls -A /sys/firmware; stat -c %t:%T /proc/keys; touch /sys/firmware/x";
    let outcome = fixture.container().shell(script).run();
    assert_eq!(outcome.stdout, "0\n0\n1:3\n");
    assert_ne!(outcome.code, 0);
}

fn read_only_paths() {
    let fixture = Fixture::new();
    let script = "echo 1 > /proc/sys/kernel/panic; echo h > /proc/sys/kernel/hostname; touch /sys/x; grep -c ' /proc/sys .* ro,' /proc/self/mounts";
    let outcome = fixture.container().shell(script).run();
    assert_eq!(outcome.stdout, "1\n");
    assert_eq!(
        outcome.stderr.matches("Read-only file system").count(),
        3,
        "{outcome:?}"
    );
}

fn devices() {
    let fixture = Fixture::new();
    let script = "echo x > /dev/null && dd if=/dev/zero bs=8 count=1 2>/dev/null | wc -c; dd if=/dev/urandom bs=4 count=1 2>/dev/null | wc -c; \
        stat -c '%n %a %t:%T' /dev/null /dev/full /dev/tty /dev/random; for l in fd stdin core ptmx; do readlink /dev/$l; done; stat -c %a /dev /dev/shm; echo >/dev/full";
    let mut container = fixture.container().shell(script);
    container.user = "web";
    let expected = "8\n4\n/dev/null 666 1:3\n/dev/full 666 1:7\n/dev/tty 666 5:0\n/dev/random 666 1:8\n\
        /proc/self/fd\n/proc/self/fd/0\n/proc/kcore\npts/ptmx\n755\n1777\n";
    let outcome = container.run();
    assert_eq!(outcome.stdout, expected);
    assert!(outcome.stderr.contains("No space left"), "{outcome:?}");
}

fn listed_devices() {
    let fixture = Fixture::new();
    let mut container = fixture
        .container()
        .shell("stat -c '%n %F %a %u:%g %t:%T' /dev/net/tun /dev/pipe");
    container.spec["linux"]["devices"] = json!([
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p", "major": 0, "minor": 0},
    ]);
    assert_eq!(
        container.output(),
        "/dev/net/tun character special file 640 3:4 a:c8\n/dev/pipe fifo 666 0:0 0:0\n"
    );
    container.spec["linux"]["devices"] =
        json!([{"path": "/dev/null", "type": "b", "major": 1, "minor": 3}]);
    assert!(container.refusal().to_string().contains("/dev/null"));
}

fn tmpfs() {
    let fixture = Fixture::new();
    let mount = json!({"destination": "/run/x", "type": "tmpfs", "source": "tmpfs", "options": ["noexec", "size=1m", "mode=711"]});
    let seen = fixture
        .container()
        .shell("stat -c %a /run/x; grep /run/x /proc/self/mounts")
        .mount(mount)
        .output();
    assert!(
        seen.starts_with("711\n") && seen.contains("noexec") && seen.contains("size=1024k"),
        "{seen}"
    );
}

fn volumes() {
    let fixture = Fixture::new();
    let volume = fixture.base().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("in"), "from the host\n").unwrap();
    fs::write(fixture.base().join("file"), "one file\n").unwrap();
    let (mount, file) = (detached(&volume), detached(&fixture.base().join("file")));
    let mut container = fixture
        .container()
        .shell("cat /data/in /etc/new/conf; echo from inside > /data/out")
        .mount(bind("/data", &["rbind", "rprivate"]))
        .mount(bind("/etc/new/conf", &["rbind", "ro"]));
    container.volumes = vec![
        VolumeMount {
            destination: "/data",
            mount: mount.as_fd(),
        },
        VolumeMount {
            destination: "/etc/new/conf",
            mount: file.as_fd(),
        },
    ];
    assert_eq!(container.output(), "from the host\none file\n");
    assert_eq!(
        fs::read_to_string(volume.join("out")).unwrap(),
        "from inside\n"
    );
}

fn read_only_volume() {
    let fixture = Fixture::new();
    let volume = fixture.base().join("volume");
    fs::create_dir(&volume).unwrap();
    let mount = detached(&volume);
    let mut container = fixture
        .container()
        .shell("touch /data/x")
        .mount(bind("/data", &["rbind", "ro"]));
    container.volumes = vec![VolumeMount {
        destination: "/data",
        mount: mount.as_fd(),
    }];
    let outcome = container.run();
    assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
    // Read-only where it is attached, and nowhere else.
    fs::write(volume.join("y"), "").unwrap();
}

/// Makes a volume with a mount below it, in a mount namespace of the case's own.
fn nested(fixture: &Fixture) -> std::path::PathBuf {
    crate::fixture::own_mounts();
    let volume = fixture.base().join("volume");
    fs::create_dir_all(volume.join("below")).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", volume.join("below"), "tmpfs", flags, None).unwrap();
    volume
}

fn recursive() {
    let fixture = Fixture::new();
    let volume = nested(&fixture);
    for (option, writable) in [("ro", "0"), ("rro", "1")] {
        let mount = detached(&volume);
        let mut container = fixture
            .container()
            .shell("touch /data/x 2>/dev/null; touch /data/below/x 2>/dev/null; echo $?")
            .mount(bind("/data", &["rbind", option]));
        container.volumes = vec![VolumeMount {
            destination: "/data",
            mount: mount.as_fd(),
        }];
        assert_eq!(container.output(), format!("{writable}\n"));
        assert!(!volume.join("x").exists());
    }
    rustix::mount::unmount(volume.join("below"), rustix::mount::UnmountFlags::DETACH).unwrap();
}

fn propagation() {
    let fixture = Fixture::new();
    let volume = nested(&fixture);
    let flags = rustix::mount::MountPropagationFlags::SHARED;
    rustix::mount::mount_change(volume.join("below"), flags).unwrap();
    let volume = volume.join("below");
    for (option, expected) in [
        ("rprivate", "-"),
        ("rslave", "master"),
        ("rshared", "shared"),
        ("", "-"),
    ] {
        let mount = detached(&volume);
        let mut container = fixture
            .container()
            .shell("grep ' /data ' /proc/self/mountinfo")
            .mount(bind("/data", &["rbind", option]));
        container.volumes = vec![VolumeMount {
            destination: "/data",
            mount: mount.as_fd(),
        }];
        let seen = container.output();
        let tag = seen.split(' ').nth(6).unwrap();
        assert!(tag.starts_with(expected), "{option}: {seen}");
    }
    rustix::mount::unmount(volume, rustix::mount::UnmountFlags::DETACH).unwrap();
}

fn by_path() {
    let fixture = Fixture::new();
    let hosts = fixture.base().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let mount = json!({"destination": "/etc/hosts", "type": "bind", "source": hosts, "options": ["rbind", "ro"]});
    assert_eq!(
        fixture
            .container()
            .args(&["cat", "/etc/hosts"])
            .mount(mount)
            .output(),
        "127.0.0.1 localhost\n"
    );
    let missing = json!({"destination": "/etc/hosts", "type": "bind", "source": "/nothing", "options": ["rbind"]});
    let error = fixture.container().mount(missing).refusal();
    assert!(error.to_string().contains("/nothing"), "{error}");
}

fn shm() {
    let fixture = Fixture::new();
    let shared = SharedMount::shm(1 << 20, (0, 0), None).unwrap();
    let mut first = fixture
        .container()
        .shell("echo shared > /dev/shm/file; grep ' /dev/shm ' /proc/self/mounts");
    first.shm = Some(&shared);
    let seen = first.output();
    assert!(
        seen.contains("nosuid,nodev,noexec") && seen.contains("size=1024k"),
        "{seen}"
    );
    let mut second = fixture.container().args(&["cat", "/dev/shm/file"]);
    second.shm = Some(&shared);
    assert_eq!(second.output(), "shared\n");
    // Beside the procfs of a shared PID namespace.
    let reaper = crate::fixture::reaper(&fixture);
    second.pid = agent_runtime::PidMode::Join(&reaper);
    assert_eq!(second.output(), "shared\n");
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    crate::fixture::exit_code(&reaper.pidfd);
}

fn host() {
    let fixture = Fixture::new();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut running = fixture
        .container()
        .shell("cut -d' ' -f5 /proc/self/mountinfo; echo end; sleep 60")
        .start()
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let line = running.line();
        if line == "end" {
            break;
        }
        seen.push(line);
    }
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    let known = |path: &String| {
        path == "/"
            || ["/proc", "/dev", "/sys"]
                .iter()
                .any(|top| path.starts_with(top))
    };
    assert!(seen.iter().all(known), "{seen:?}");
    running.kill();
}

fn unknown() {
    let fixture = Fixture::new();
    let mount =
        json!({"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["bogus=1"]});
    let error = fixture.container().mount(mount).refusal();
    assert!(error.to_string().contains("bogus"), "{error}");
    let mount = json!({"destination": "/x", "type": "bind", "source": "/etc", "options": ["bind", "bogus"]});
    let error = fixture.container().mount(mount).refusal();
    assert!(error.to_string().contains("bogus"), "{error}");
}

/// A mount over the caller's root once stayed on top of the container's, where `/..` and exec sessions found it.
fn stacked() {
    let fixture = Fixture::new();
    crate::fixture::own_mounts();
    let none = rustix::mount::MountFlags::empty();
    for _ in 0..3 {
        rustix::mount::mount("tmpfs", "/", "tmpfs", none, None).unwrap();
    }
    let script = "ls -d /../bin/busybox; grep -c ' / / ' /proc/self/mountinfo; echo end";
    let reaper = crate::fixture::reaper(&fixture);
    for pid in [
        agent_runtime::PidMode::New,
        agent_runtime::PidMode::Join(&reaper),
    ] {
        let mut container = fixture.container().shell(&format!("{script}; sleep 60"));
        container.pid = pid;
        let mut running = container.start().unwrap();
        let seen = [(); 3].map(|()| running.line());
        assert_eq!(seen, ["/../bin/busybox", "1", "end"]);
        let session = Session::new(&fixture, &running, &["/bin/sh", "-c", script]);
        assert_eq!(session.output(), "/../bin/busybox\n1\nend\n");
        running.kill();
    }
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    crate::fixture::exit_code(&reaper.pidfd);
}
