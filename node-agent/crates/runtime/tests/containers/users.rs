//! Whom a program runs as, and what it may do.

use agent_runtime::{GroupFile, PidMode};
use nix::libc;
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, reaper};
use crate::session::Session;

pub(crate) const CASES: &[Case] = &[
    ("users_are_found_by_name_and_number", users),
    ("further_groups_are_added", groups),
    ("root_has_the_capabilities_granted", root_capabilities),
    ("another_user_has_none_but_the_ambient", user_capabilities),
    ("capabilities_that_we_lack_are_left_out", lacking),
    ("no_new_privileges_holds", no_new_privileges),
    ("a_seccomp_filter_holds", seccomp),
    (
        "a_seccomp_filter_holds_in_exec_sessions_and_shared_pid_namespaces",
        seccomp_elsewhere,
    ),
    ("streams_belong_to_the_user", streams),
];

fn users() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell("echo $(id -u) $(id -g) $(id -G)");
    for (user, expected) in [
        ("", "0 0 0"),
        ("web", "33 34 34 50"),
        ("33", "33 34 34 50"),
        ("web:logs", "33 50 50"),
        ("1000:1001", "1000 1001 1001"),
        ("1000", "1000 0 0"),
    ] {
        container.user = user;
        assert_eq!(container.output().trim(), expected, "{user}");
        let (created, ..) = container.create().unwrap();
        let report = &created.user;
        assert!(
            expected.starts_with(&format!("{} {}", report.uid, report.gid)),
            "{report:?}"
        );
        drop(created.gate);
        crate::fixture::exit_code(&created.pidfd);
    }
}

fn groups() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell("echo $(id -G)");
    container.user = "web";
    container.groups = vec![60, 61];
    container.spec["process"]["user"]["additionalGids"] = json!([70]);
    assert_eq!(container.output(), "34 50 60 61 70\n");
    container.group_file = GroupFile::Ignore;
    assert_eq!(container.output(), "34 60 61 70\n");
}

const SETS: [&str; 5] = ["grep", "-E", "Cap(Prm|Eff|Bnd)", "/proc/self/status", "-h"];

fn root_capabilities() {
    let fixture = Fixture::new();
    let docker = "00000000a80425fb";
    let expected = format!("CapPrm:\t{docker}\nCapEff:\t{docker}\nCapBnd:\t{docker}\n");
    assert_eq!(fixture.container().args(&SETS).output(), expected);
    let mut none = fixture.container().args(&SETS);
    none.spec["process"]["capabilities"] = json!({});
    let zero = "0000000000000000";
    assert_eq!(
        none.output(),
        format!("CapPrm:\t{zero}\nCapEff:\t{zero}\nCapBnd:\t{zero}\n")
    );
}

fn user_capabilities() {
    let fixture = Fixture::new();
    let mut container = fixture.container().args(&SETS);
    container.user = "web";
    let zero = "0000000000000000";
    let docker = "00000000a80425fb";
    assert_eq!(
        container.output(),
        format!("CapPrm:\t{zero}\nCapEff:\t{zero}\nCapBnd:\t{docker}\n")
    );
    container.spec["process"]["capabilities"]["ambient"] = json!(["CAP_NET_RAW"]);
    let raw = "0000000000002000";
    assert_eq!(
        container.output(),
        format!("CapPrm:\t{raw}\nCapEff:\t{raw}\nCapBnd:\t{docker}\n")
    );
}

fn lacking() {
    let fixture = Fixture::new();
    let mut container = fixture.container().args(&SETS);
    let all = json!([
        "CAP_SYS_ADMIN",
        "CAP_SYS_RESOURCE",
        "CAP_CHECKPOINT_RESTORE"
    ]);
    for set in ["bounding", "effective", "permitted"] {
        container.spec["process"]["capabilities"][set] = all.clone();
    }
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"))
        .unwrap();
    let own = u64::from_str_radix(own, 16).unwrap();
    let expected = own & (1 << 21 | 1 << 24 | 1 << 40);
    assert!(
        container
            .output()
            .contains(&format!("CapEff:\t{expected:016x}"))
    );
}

fn no_new_privileges() {
    let fixture = Fixture::new();
    let mut container = fixture
        .container()
        .args(&["grep", "NoNewPrivs", "/proc/self/status"]);
    assert_eq!(container.output(), "NoNewPrivs:\t0\n");
    container.spec["process"]["noNewPrivileges"] = json!(true);
    assert_eq!(container.output(), "NoNewPrivs:\t1\n");
}

/// A filter that answers one system call with EPERM and another with ENOSYS.
fn filter() -> Vec<u8> {
    let nosys = u32::try_from(libc::SYS_clone3).unwrap();
    let denied = u32::try_from(libc::SYS_uname).unwrap();
    let instructions: [(u16, u8, u8, u32); 6] = [
        (0x20, 0, 0, 0),
        (0x15, 2, 0, nosys),
        (0x15, 2, 0, denied),
        (0x06, 0, 0, 0x7fff_0000),
        (0x06, 0, 0, 0x0005_0000 | 38),
        (0x06, 0, 0, 0x0005_0000 | 1),
    ];
    let mut bytes = Vec::new();
    for (code, jt, jf, k) in instructions {
        bytes.extend_from_slice(&code.to_ne_bytes());
        bytes.extend_from_slice(&[jt, jf]);
        bytes.extend_from_slice(&k.to_ne_bytes());
    }
    bytes
}

const FILTERED: &str = "uname; grep '^Seccomp:' /proc/self/status";

fn seccomp() {
    let fixture = Fixture::new();
    for denied in [false, true] {
        for user in ["", "web"] {
            let mut container = fixture.container().shell(FILTERED);
            container.spec["process"]["noNewPrivileges"] = json!(denied);
            container.user = user;
            container.seccomp = filter();
            let outcome = container.run();
            // A system that does not say its name.
            assert_eq!(outcome.stdout, "\nSeccomp:\t2\n", "{outcome:?}");
        }
    }
    let mut container = fixture.container();
    container.seccomp = vec![0; 16];
    assert!(
        container
            .start()
            .err()
            .unwrap()
            .to_string()
            .contains("seccomp")
    );
}

/// There the filter is in force before the last process is forked.
fn seccomp_elsewhere() {
    let fixture = Fixture::new();
    let reaper = reaper(&fixture);
    for denied in [false, true] {
        let mut container = fixture.container().shell(&format!("{FILTERED}; sleep 60"));
        container.spec["process"]["noNewPrivileges"] = json!(denied);
        container.pid = PidMode::Join(&reaper);
        container.seccomp = filter();
        let mut running = container.start().unwrap();
        assert_eq!(
            (running.line(), running.line()),
            (String::new(), "Seccomp:\t2".to_owned())
        );
        let mut session = Session::new(&fixture, &running, &["sh", "-c", FILTERED]);
        session.process["noNewPrivileges"] = json!(denied);
        session.seccomp = filter();
        assert_eq!(session.output(), "\nSeccomp:\t2\n");
        running.kill();
    }
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    crate::fixture::exit_code(&reaper.pidfd);
}

fn streams() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell(
        "stat -L -c %u /proc/self/fd/1; echo again > /proc/self/fd/1; stat -L -c %u /dev/null",
    );
    container.user = "web";
    assert_eq!(container.output(), "33\nagain\n0\n");
}
