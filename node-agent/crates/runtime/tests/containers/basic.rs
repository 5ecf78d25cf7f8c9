//! A container runs, ends, and is told why it does not.

use agent_runtime::FailureKind;
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, exit_code, is_unified, own_cgroup_line};

pub(crate) const CASES: &[Case] = &[
    ("a_program_runs_and_its_exit_code_is_seen", runs),
    ("a_program_is_found_in_path", path),
    ("a_missing_program_is_not_found", missing),
    (
        "a_program_that_cannot_run_is_not_executable",
        not_executable,
    ),
    ("a_gate_that_is_dropped_ends_the_process", dropped),
    ("the_process_is_in_its_cgroup", cgroup),
    ("a_terminal_is_the_controlling_one", terminal),
    ("the_environment_has_a_home", home),
    ("limits_and_oom_score_hold", limits),
    ("a_limit_that_cannot_be_raised_is_named", limit_too_high),
    ("signals_have_their_default_actions", signals),
    ("a_missing_working_directory_is_made", working_directory),
    ("a_malformed_specification_is_refused", malformed),
];

fn runs() {
    let fixture = Fixture::new();
    let outcome = fixture
        .container()
        .shell("echo out; echo err >&2; exit 7")
        .run();
    assert_eq!(
        (
            outcome.code,
            outcome.stdout.as_str(),
            outcome.stderr.as_str()
        ),
        (7, "out\n", "err\n")
    );
}

fn path() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.container().args(&["echo", "found"]).output(),
        "found\n"
    );
}

fn missing() {
    let fixture = Fixture::new();
    for name in ["nothing", "/bin/nothing", "bin"] {
        let error = fixture.container().args(&[name]).start().err().unwrap();
        assert_eq!(
            error.kind(),
            FailureKind::ProgramNotFound,
            "{name}: {error}"
        );
    }
}

fn not_executable() {
    let fixture = Fixture::new();
    std::fs::write(fixture.layer().join("bin/text"), "no program").unwrap();
    for name in ["/bin", "/etc/passwd", "text", "/etc/passwd/x"] {
        let error = fixture.container().args(&[name]).start().err().unwrap();
        assert_eq!(
            error.kind(),
            FailureKind::ProgramNotExecutable,
            "{name}: {error}"
        );
        assert_ne!(error.errno(), 0);
    }
}

fn dropped() {
    let fixture = Fixture::new();
    let (created, ..) = fixture.container().create().unwrap();
    drop(created.gate);
    assert_eq!(exit_code(&created.pidfd), 1);
}

fn cgroup() {
    let fixture = Fixture::new();
    let (created, ..) = fixture.container().create().unwrap();
    assert_eq!(fixture.cgroup_members().trim(), created.pid.to_string());
    drop(created.gate);
    exit_code(&created.pidfd);
    let seen = fixture
        .container()
        .shell("cat /proc/self/cgroup; ls /sys/fs/cgroup")
        .output();
    assert!(seen.contains(&format!("{}\n", own_cgroup_line())), "{seen}");
    assert!(!seen.contains("node-agent-test"), "{seen}");
    let shown = if is_unified() {
        "\ncgroup.procs\n"
    } else {
        "\nfreezer\n"
    };
    assert!(seen.contains(shown), "{seen}");
    // A hierarchy that the container has no cgroup of its own in is not shown.
    assert!(!seen.contains("\nblkio\n"), "{seen}");
}

fn terminal() {
    let fixture = Fixture::new();
    let mut container = fixture.container();
    container.terminal = true;
    let script = "tty; stty size; echo hello > /dev/console; exec 3<>/dev/tty && echo own >&3; test -t 0; stat -c %u,%g /dev/pts/0";
    let outcome = container.shell(script).run();
    assert_eq!(outcome.stdout, "/dev/pts/0\n33 99\nhello\nown\n0,5\n");
    assert_eq!(outcome.code, 0);
}

fn home() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell("echo $HOME $(pwd)");
    assert_eq!(container.output(), "/root /\n");
    container.user = "web";
    assert_eq!(container.output(), "/www /\n");
}

fn limits() {
    let fixture = Fixture::new();
    let script = "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; umask";
    assert_eq!(
        fixture.container().shell(script).output(),
        "512\n1024\n100\n0022\n"
    );
    let mut container = fixture.container().shell("cat /proc/self/oom_score_adj");
    container.spec["process"]["oomScoreAdj"] = json!(-999);
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let seen = container.output();
    assert!(seen == "-999\n" || seen == own, "{seen}");
}

fn limit_too_high() {
    let fixture = Fixture::new();
    let mut container = fixture.container();
    // Above what the kernel allows anybody.
    container.spec["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 4_000_000_000_u64, "hard": 4_000_000_000_u64}]);
    let error = container.refusal();
    assert_eq!(error.kind(), FailureKind::Invalid);
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
}

fn signals() {
    let fixture = Fixture::new();
    let seen = fixture
        .container()
        .args(&["grep", "-E", "Sig(Ign|Blk|Cgt)", "/proc/self/status"])
        .output();
    let zero = "0000000000000000";
    assert_eq!(
        seen,
        format!("SigBlk:\t{zero}\nSigIgn:\t{zero}\nSigCgt:\t{zero}\n")
    );
}

fn working_directory() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell("pwd; stat -c %a .");
    container.spec["process"]["cwd"] = json!("/made/for/it");
    assert_eq!(container.output(), "/made/for/it\n755\n");
    container.spec["process"]["cwd"] = json!("/etc/passwd");
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
}

fn malformed() {
    let fixture = Fixture::new();
    let mut container = fixture.container();
    container.spec = json!({"ociVersion": 7});
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
    container.spec = json!({"ociVersion": "1.2.0", "mounts": []});
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
}
