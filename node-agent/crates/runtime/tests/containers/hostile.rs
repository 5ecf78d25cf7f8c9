//! What attackers have done to programs like this one; numbers are rows of the list of attacks.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use agent_runtime::{ExecPid, FailureKind, Onlookers, PidMode, VolumeMount};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, bind, chain, detached, own_cgroup_line, reaper};
use crate::session::Session;

pub(crate) const CASES: &[Case] = &[
    ("hostile_02_no_descriptor_leads_out", descriptors),
    (
        "hostile_02_no_descriptor_leads_out_of_an_exec_session",
        descriptors_in_exec,
    ),
    (
        "hostile_03_volume_destinations_stay_in_the_root",
        destinations,
    ),
    (
        "hostile_03_a_destination_swapped_meanwhile_stays_in_the_root",
        race,
    ),
    ("hostile_04_proc_and_sys_must_be_directories", proc_and_sys),
    ("hostile_05_masks_are_made_of_the_null_device_only", masks),
    (
        "hostile_06_a_false_terminal_multiplexer_is_refused",
        multiplexer,
    ),
    ("hostile_07_nothing_is_mounted_into_procfs", procfs),
    ("hostile_09_nothing_is_inheritable", inheritable),
    (
        "hostile_17_user_files_that_are_no_small_files_are_refused",
        user_files,
    ),
    ("hostile_18_users_that_wrap_are_refused", users),
    (
        "hostile_shared_pid_namespace_the_reaper_holds_nothing",
        reaper_holds_nothing,
    ),
    (
        "hostile_shared_pid_namespace_no_process_is_born_with_the_hosts_root",
        births,
    ),
    (
        "hostile_02_a_session_shows_nothing_of_the_host_from_its_birth_on",
        births_of_sessions,
    ),
];

fn descriptors() {
    let fixture = Fixture::new();
    let seen = fixture
        .container()
        .shell("ls /proc/self/fd; ls /proc/1/fd; true")
        .output();
    // The third of `ls` is the directory it reads.
    assert_eq!(seen, "0\n1\n2\n3\n0\n1\n2\n");
    for number in 3..50 {
        let mut container = fixture.container().shell("pwd; ls /");
        container.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        assert_eq!(container.refusal().kind(), FailureKind::Invalid);
    }
    symlink("/proc/self/fd/3", fixture.layer().join("link")).unwrap();
    let mut container = fixture.container();
    container.spec["process"]["cwd"] = json!("/link");
    container.refusal();
}

fn descriptors_in_exec() {
    let fixture = Fixture::new();
    symlink("/proc/self/fd/3", fixture.layer().join("link")).unwrap();
    let running = fixture
        .container()
        .shell("echo up; sleep 60")
        .start()
        .unwrap();
    let seen = Session::new(
        &fixture,
        &running,
        &["sh", "-c", "ls /proc/self/fd; ls /proc/$$/fd; true"],
    )
    .output();
    assert_eq!(seen, "0\n1\n2\n3\n0\n1\n2\n");
    let paths = (3..50)
        .map(|number| format!("/proc/self/fd/{number}"))
        .chain(["/link".to_owned()]);
    for path in paths {
        let mut session = Session::new(&fixture, &running, &["pwd"]);
        session.process["cwd"] = json!(path);
        assert_eq!(session.start().err().unwrap().kind(), FailureKind::Invalid);
    }
    running.kill();
}

fn destinations() {
    let fixture = Fixture::new();
    let outside = fixture.base().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(fixture.base().join("volume"), "data").unwrap();
    symlink(&outside, fixture.layer().join("abs")).unwrap();
    symlink("../../../../..", fixture.layer().join("up")).unwrap();
    symlink("/var/../../gone", fixture.layer().join("dangling")).unwrap();
    for destination in [
        "/abs/file",
        "/up/tmp/x/file",
        "/../../../etc/file",
        "/dangling/file",
    ] {
        let mount = detached(&fixture.base().join("volume"));
        let mut container = fixture
            .container()
            .args(&["cat", destination])
            .mount(bind(destination, &["rbind", "ro"]));
        container.volumes = vec![VolumeMount {
            destination,
            mount: mount.as_fd(),
        }];
        assert_eq!(container.output(), "data");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// A container of the pod swaps a directory of a shared volume for a link while another is created.
fn race() {
    let fixture = Fixture::new();
    let shared = fixture.base().join("shared");
    let outside = fixture.base().join("outside");
    fs::create_dir_all(shared.join("a")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(fixture.base().join("volume"), "data").unwrap();
    symlink(format!("/../../..{}", outside.display()), shared.join("b")).unwrap();
    let shared_mount = || detached(&shared);
    let swap = "cd /shared; echo up; while :; do mv a t; mv b a; mv t b; done";
    let mount = shared_mount();
    let mut attacker = fixture
        .container()
        .shell(swap)
        .mount(bind("/shared", &["rbind"]));
    attacker.volumes = vec![VolumeMount {
        destination: "/shared",
        mount: mount.as_fd(),
    }];
    let mut attacker = attacker.start().unwrap();
    attacker.line();
    for _ in 0..100 {
        let (shared, volume) = (shared_mount(), detached(&fixture.base().join("volume")));
        let mut victim = fixture
            .container()
            .mount(bind("/shared", &["rbind"]))
            .mount(bind("/shared/a/made/file", &["rbind"]));
        victim.volumes = vec![
            VolumeMount {
                destination: "/shared",
                mount: shared.as_fd(),
            },
            VolumeMount {
                destination: "/shared/a/made/file",
                mount: volume.as_fd(),
            },
        ];
        // Either way the swap went, or an error where it went both ways at once.
        if let Ok((created, ..)) = victim.create() {
            drop(created.gate);
            crate::fixture::exit_code(&created.pidfd);
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
    attacker.kill();
}

fn proc_and_sys() {
    for name in ["proc", "sys"] {
        for target in ["/tmp", "tmp", "/etc/../tmp"] {
            let fixture = Fixture::new();
            fs::create_dir(fixture.layer().join("tmp")).unwrap();
            symlink(target, fixture.layer().join(name)).unwrap();
            let error = fixture.container().refusal();
            assert_eq!(error.kind(), FailureKind::Invalid, "{}", chain(&error));
        }
        let fixture = Fixture::new();
        fs::write(fixture.layer().join(name), "").unwrap();
        assert_eq!(fixture.container().refusal().kind(), FailureKind::Invalid);
    }
}

/// The image brings its own /dev, with something else by the name of the null device.
fn masks() {
    let fakes: [fn(&Path); 3] = [
        |null| fs::write(null, "").unwrap(),
        |null| symlink("/proc/sys/kernel/core_pattern", null).unwrap(),
        |null| {
            let kind = rustix::fs::FileType::CharacterDevice;
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            let zero = rustix::fs::makedev(1, 5);
            rustix::fs::mknodat(rustix::fs::CWD, null, kind, mode, zero).unwrap();
        },
    ];
    for fake in fakes {
        let fixture = Fixture::new();
        fs::create_dir(fixture.layer().join("dev")).unwrap();
        fake(&fixture.layer().join("dev/null"));
        let mut container = fixture.container();
        container.spec["mounts"] =
            json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        let error = container.refusal();
        assert!(error.to_string().contains("/dev/null"), "{}", chain(&error));
    }
}

fn multiplexer() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell(
        "mount -t tmpfs none /dev/pts && cat /proc/version > /dev/pts/ptmx; echo $?; sleep 60",
    );
    container.spec["process"]["capabilities"]["effective"] = json!(["CAP_SYS_ADMIN"]);
    container.spec["process"]["capabilities"]["permitted"] = json!(["CAP_SYS_ADMIN"]);
    container.spec["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
    let mut running = container.start().unwrap();
    assert_eq!(running.line(), "0");
    let mut session = Session::new(&fixture, &running, &["tty"]);
    session.terminal = true;
    let error = session.start().err().unwrap();
    assert_eq!(error.kind(), FailureKind::Invalid, "{}", chain(&error));
    running.kill();
}

fn procfs() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.base().join("volume/self/attr")).unwrap();
    symlink("/proc", fixture.layer().join("link")).unwrap();
    symlink("/", fixture.layer().join("top")).unwrap();
    for destination in [
        "/proc",
        "/proc/self/attr",
        "/proc/sys",
        "/link",
        "/link/sys",
        "/top",
        "/top/proc",
        "/x/../proc/1",
        "/",
    ] {
        let mount = detached(&fixture.base().join("volume"));
        let mut container = fixture.container().mount(bind(destination, &["rbind"]));
        container.volumes = vec![VolumeMount {
            destination,
            mount: mount.as_fd(),
        }];
        assert_eq!(
            container.refusal().kind(),
            FailureKind::Invalid,
            "{destination}"
        );
        let tmpfs = json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"});
        assert_eq!(
            fixture.container().mount(tmpfs).refusal().kind(),
            FailureKind::Invalid
        );
    }
}

fn inheritable() {
    let fixture = Fixture::new();
    let status = ["grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"];
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    let mut container = fixture.container().args(&status);
    for user in ["", "web"] {
        container.user = user;
        assert_eq!(container.output(), none);
    }
    let mut sleeper = fixture
        .container()
        .shell("echo up; sleep 60")
        .start()
        .unwrap();
    sleeper.line();
    for user in ["", "web"] {
        let mut session = Session::new(&fixture, &sleeper, &status);
        session.user = user;
        assert_eq!(session.output(), none);
    }
    sleeper.kill();
    // An ambient capability needs itself to be inheritable, and nothing more.
    container.spec["process"]["capabilities"]["ambient"] = json!(["CAP_NET_BIND_SERVICE"]);
    assert_eq!(
        container.output(),
        "CapInh:\t0000000000000400\nCapAmb:\t0000000000000400\n"
    );
}

fn user_files() {
    let fakes: [fn(&Path); 5] = [
        |path| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o666),
                0,
            )
            .unwrap()
        },
        |path| fs::File::create(path).unwrap().set_len(10 << 30).unwrap(),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| symlink("/proc/self/mem", path).unwrap(),
    ];
    for fake in fakes {
        for name in ["passwd", "group"] {
            let fixture = Fixture::new();
            let path = fixture.layer().join("etc").join(name);
            fs::remove_file(&path).unwrap();
            fake(&path);
            let error = fixture.container().refusal();
            assert_eq!(error.kind(), FailureKind::Invalid, "{}", chain(&error));
        }
    }
}

fn users() {
    let fixture = Fixture::new();
    let mut container = fixture.container();
    for user in [
        "4294967296:0",
        "-1",
        "2147483648",
        "0:4294967295",
        "nobody-here",
        "web:nothing",
    ] {
        container.user = user;
        assert_eq!(container.refusal().kind(), FailureKind::Invalid);
    }
}

const TRACER: [&str; 3] = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];

fn reaper_holds_nothing() {
    let fixture = Fixture::new();
    let reaper = reaper(&fixture);
    let script = "ls -A /proc/1/root/; ls /proc/1/fd; grep -E '^(Uid|Gid|Groups|CapPrm|CapBnd|NoNewPrivs)' /proc/1/status; \
        wc -l < /proc/1/mountinfo; grep -x CGROUP /proc/1/cgroup; readlink /proc/1/cwd; echo end";
    let script = script.replace("CGROUP", &own_cgroup_line());
    let mut container = fixture.container().shell(&script);
    container.pid = PidMode::Join(&reaper);
    for set in ["bounding", "effective", "permitted"] {
        container.spec["process"]["capabilities"][set] = json!(TRACER);
    }
    let id = "65535\t65535\t65535\t65535";
    let none = "0000000000000000";
    let seen = container.output();
    let (seen, rest) = seen.split_once("CapBnd").unwrap();
    assert_eq!(
        seen,
        format!("Uid:\t{id}\nGid:\t{id}\nGroups:\t \nCapPrm:\t{none}\n")
    );
    let cgroup = own_cgroup_line();
    assert_eq!(
        rest,
        format!(":\t{none}\nNoNewPrivs:\t1\n1\n{cgroup}\n/\nend\n")
    );
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    crate::fixture::exit_code(&reaper.pidfd);
}

/// A container that may trace everybody watches every process that appears, for a way to a file of the host.
fn births() {
    let fixture = Fixture::new();
    let secret = fixture.base().join("secret");
    fs::write(&secret, "").unwrap();
    let reaper = reaper(&fixture);
    let script = format!(
        "echo up; while :; do for p in /proc/[0-9]*; do \
         [ -e $p/root{secret} ] && echo root $p; [ -e $p/cwd/{name} ] && echo cwd $p; \
         for n in 3 4 5 6 7 8 9 10; do readlink $p/fd/$n; done 2>/dev/null | grep -E 'cgroup|tasks|{name}' ; done; done",
        secret = secret.display(),
        name = fixture.base().file_name().unwrap().to_str().unwrap(),
    );
    let mut watcher = fixture.container().shell(&script);
    watcher.pid = PidMode::Join(&reaper);
    for set in ["bounding", "effective", "permitted"] {
        watcher.spec["process"]["capabilities"][set] = json!(TRACER);
    }
    let mut watcher = watcher.start().unwrap();
    assert_eq!(watcher.line(), "up");
    let mut peer = fixture.container().shell("echo up; sleep 60");
    peer.pid = PidMode::Join(&reaper);
    for _ in 0..20 {
        let mut peer = peer.start().unwrap();
        peer.line();
        for _ in 0..10 {
            let mut session = Session::new(&fixture, &peer, &["true"]);
            session.pid = ExecPid::Container;
            assert_eq!(session.run().code, 0);
        }
        peer.kill();
    }
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    // A first process ends after every other of its namespace has been waited for.
    assert_eq!(watcher.wait().stdout, "");
    crate::fixture::exit_code(&reaper.pidfd);
}

/// Root of a container, with every right but to trace, watches the sessions that are born beside it, for anything of the host.
fn births_of_sessions() {
    let bystander = [
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_NET_ADMIN",
        "CAP_CHOWN",
        "CAP_SETUID",
        "CAP_KILL",
    ];
    watch_sessions(&bystander, Onlookers::Bystanders);
    let overseer = [&bystander[..], &["CAP_SYS_ADMIN", "CAP_PERFMON"]].concat();
    watch_sessions(&overseer, Onlookers::Tracers);
}

/// A container with `capabilities` looks at every process that appears beside it, for something of the host's.
fn watch_sessions(capabilities: &[&str], expected: Onlookers) {
    // What the container's own program will replace is all that these capabilities show.
    let maps = match expected {
        Onlookers::Bystanders => "grep -l /containers- $p/maps;",
        Onlookers::Tracers => "",
    };
    let fixture = Fixture::new();
    let secret = fixture.base().join("secret");
    fs::write(&secret, "").unwrap();
    let name = fixture.base().file_name().unwrap().to_str().unwrap();
    // Every process of the host's network sees the name of a socket in it.
    let address = format!("@{name}");
    let socket =
        <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&socket).unwrap();
    let host = fs::File::open("/proc/self/ns/net").unwrap();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let network = fs::File::open("/proc/self/ns/net").unwrap();
    setns(&host, CloneFlags::CLONE_NEWNET).unwrap();
    let script = format!(
        "own=$(cat /proc/1/mountinfo); echo up; while [ ! -e /end ]; do for p in /proc/[0-9]*; do \
         [ -e $p/root{secret} ] && echo root $p; [ -e $p/cwd/{name} ] && echo cwd $p; \
         m=$(cat $p/mountinfo); [ -n \"$m\" ] && [ \"$m\" != \"$own\" ] && echo mounts $p; \
         {maps} grep -l '{address}' $p/net/unix; \
         for n in 3 4 5 6 7 8 9 10 11 12; do readlink $p/fd/$n; done | grep -E 'cgroup|tasks|{name}'; \
         done 2>/dev/null; done; true",
        secret = secret.display(),
    );
    let mut watcher = fixture.container().shell(&script);
    watcher.network = Some(network.as_fd());
    for set in ["bounding", "effective", "permitted"] {
        watcher.spec["process"]["capabilities"][set] = json!(capabilities);
    }
    let mut watcher = watcher.start().unwrap();
    assert_eq!(watcher.line(), "up");
    assert_eq!(watcher.created.onlookers, expected);
    for _ in 0..100 {
        let session = Session::new(&fixture, &watcher, &["true"]);
        assert_eq!(session.run().code, 0);
    }
    let end = Session::new(&fixture, &watcher, &["sh", "-c", ": >/end"]);
    assert_eq!(end.run().code, 0);
    let outcome = watcher.wait();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""));
}
