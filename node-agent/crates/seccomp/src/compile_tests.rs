//! What compiled profiles answer, for each architecture, by the interpreter.

use super::*;
use crate::Profile;
use crate::arch::{Arch, of_machine};
use crate::interpreter::{ALLOW, KILL_THREAD, errno, run};
use crate::program::Instruction;

const KERNEL: KernelVersion = KernelVersion {
    major: 6,
    minor: 18,
};
const EPERM: u32 = errno(1);
const NOT_IMPLEMENTED: u32 = errno(38);

struct Filter(Vec<Instruction>);

impl Filter {
    fn default_with(names: &[&str]) -> Self {
        let capabilities = names.iter().fold(Capabilities::default(), |all, name| {
            all.with(Capabilities::named(name).unwrap())
        });
        Self::of(&Profile::default_profile(), capabilities)
    }

    fn of(profile: &Profile, capabilities: Capabilities) -> Self {
        Self(program::decode(
            profile.compile(capabilities, KERNEL).unwrap().as_bytes(),
        ))
    }

    fn json(text: &str) -> Self {
        Self::of(
            &Profile::from_json(text.as_bytes()).unwrap(),
            Capabilities::default(),
        )
    }

    fn answer(&self, arch: Arch, name: &str, arguments: &[u64]) -> u32 {
        /// Direct sockets of ia32, which the library files under the other way to make one.
        const SOCKET_OF_IA32: u32 = 359;
        let call = ScmpSyscall::from_name_by_arch(name, arch.scmp).unwrap();
        let number = match u32::try_from(call.as_raw_syscall()) {
            Ok(number) => number,
            Err(_) if name == "socket" => SOCKET_OF_IA32,
            Err(_) => panic!("{name} does not exist on {arch:?}"),
        };
        self.number(arch, number, arguments)
    }

    fn number(&self, arch: Arch, number: u32, arguments: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        run(&self.0, arch.audit, number, all)
    }

    fn native(&self, name: &str, arguments: &[u64]) -> u32 {
        self.answer(of_machine()[0], name, arguments)
    }
}

#[test]
fn each_architecture_allows_denies_and_does_not_know() {
    let filter = Filter::default_with(&[]);
    for arch in of_machine() {
        assert_eq!(filter.answer(*arch, "read", &[]), ALLOW, "{arch:?}");
        assert_eq!(filter.answer(*arch, "keyctl", &[]), EPERM, "{arch:?}");
        assert_eq!(filter.answer(*arch, "userfaultfd", &[]), EPERM, "{arch:?}");
        assert_eq!(
            filter.answer(*arch, "io_uring_setup", &[]),
            EPERM,
            "{arch:?}"
        );
        for newer in [700, 1000, 100_000] {
            assert_eq!(
                filter.number(*arch, arch.first + newer, &[]),
                NOT_IMPLEMENTED,
                "{arch:?} {newer}"
            );
        }
    }
    assert_eq!(
        filter.number(
            Arch {
                audit: 0xc000_0016,
                ..of_machine()[0]
            },
            0,
            &[]
        ),
        KILL_THREAD
    );
}

#[test]
fn namespaces_are_for_administrators() {
    let (ordinary, admin) = (
        Filter::default_with(&["CHOWN"]),
        Filter::default_with(&["SYS_ADMIN"]),
    );
    for call in [
        "mount",
        "unshare",
        "setns",
        "bpf",
        "umount2",
        "fsopen",
        "sethostname",
    ] {
        assert_eq!(ordinary.native(call, &[]), EPERM, "{call}");
        assert_eq!(admin.native(call, &[]), ALLOW, "{call}");
    }
    assert_eq!(ordinary.native("clone3", &[]), NOT_IMPLEMENTED);
    assert_eq!(admin.native("clone3", &[]), ALLOW);
    // A thread, then each kind of namespace.
    assert_eq!(ordinary.native("clone", &[0x003d_0f00]), ALLOW);
    for flag in [
        0x0002_0000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ] {
        assert_eq!(ordinary.native("clone", &[flag | 0x11]), EPERM, "{flag:#x}");
        assert_eq!(admin.native("clone", &[flag | 0x11]), ALLOW, "{flag:#x}");
    }
}

#[test]
fn capabilities_open_their_calls_and_no_others() {
    for (capability, call) in [
        ("SYS_BOOT", "reboot"),
        ("SYS_CHROOT", "chroot"),
        ("SYS_MODULE", "init_module"),
        ("SYS_NICE", "mbind"),
        ("SYS_PACCT", "acct"),
        ("SYS_PTRACE", "kcmp"),
        ("SYS_TIME", "clock_settime"),
        ("SYS_TTY_CONFIG", "vhangup"),
        ("SYSLOG", "syslog"),
        ("BPF", "bpf"),
        ("PERFMON", "perf_event_open"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
    ] {
        assert_eq!(
            Filter::default_with(&[capability]).native(call, &[]),
            ALLOW,
            "{call}"
        );
        assert_eq!(
            Filter::default_with(&["CHOWN"]).native(call, &[]),
            EPERM,
            "{call}"
        );
    }
}

#[test]
fn personalities_and_tracing() {
    let filter = Filter::default_with(&[]);
    for allowed in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        assert_eq!(filter.native("personality", &[allowed]), ALLOW);
    }
    // Without address randomisation, and an upper half that the kernel ignores.
    for refused in [0x004_0000, 9, 1 << 32] {
        assert_eq!(
            filter.native("personality", &[refused]),
            EPERM,
            "{refused:#x}"
        );
    }
    assert_eq!(filter.native("ptrace", &[]), ALLOW);
    let old = Profile::default_profile()
        .compile(
            Capabilities::default(),
            KernelVersion { major: 4, minor: 4 },
        )
        .unwrap();
    assert_eq!(
        Filter(program::decode(old.as_bytes())).native("ptrace", &[]),
        EPERM
    );
}

#[test]
fn hostile_af_alg_no_way_to_the_kernels_cryptography() {
    for filter in [
        Filter::default_with(&[]),
        Filter::default_with(&["SYS_ADMIN", "NET_ADMIN"]),
    ] {
        for arch in of_machine() {
            for family in [0, 1, 2, 10, 16, 17, 37, 39, 41, 44] {
                assert_eq!(
                    filter.answer(*arch, "socket", &[family]),
                    ALLOW,
                    "{arch:?} {family}"
                );
            }
            for family in [38, 40] {
                assert_eq!(
                    filter.answer(*arch, "socket", &[family, 5, 0]),
                    EPERM,
                    "{arch:?} {family}"
                );
            }
        }
        #[cfg(target_arch = "x86_64")]
        for sub_call in 0..=20 {
            let answer = filter.answer(of_machine()[1], "socketcall", &[sub_call, 0xffff_0000]);
            assert_eq!(answer, NOT_IMPLEMENTED, "socketcall({sub_call})");
        }
    }
}

#[test]
fn a_short_profile_makes_no_old_call_new() {
    let filter = Filter::json(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","no_such_call"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(filter.native("read", &[]), ALLOW);
    assert_eq!(filter.native("write", &[]), EPERM);
    assert_eq!(filter.native("mount", &[]), EPERM);
    assert_eq!(filter.number(of_machine()[0], 5000, &[]), NOT_IMPLEMENTED);
    // It lists no other architecture.
    #[cfg(target_arch = "x86_64")]
    assert_eq!(filter.answer(of_machine()[1], "read", &[]), KILL_THREAD);
}

#[test]
fn a_profile_that_allows_by_default_lets_newer_calls_pass() {
    let filter = Filter::json(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#,
    );
    assert_eq!(filter.native("chmod", &[]), errno(13));
    assert_eq!(filter.number(of_machine()[0], 5000, &[]), ALLOW);
}

#[test]
fn a_forbidden_call_that_cannot_be_found_is_an_error() {
    let profile = Profile::from_json(
        br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["no_such_call"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let result = profile.unwrap().compile(Capabilities::default(), KERNEL);
    assert!(matches!(result, Err(CompileError::UnknownCall { name }) if name == "no_such_call"));
}

#[test]
fn conditions_on_one_argument_are_alternatives_and_on_several_together() {
    let filter = Filter::json(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]},
            {"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_GE"},{"index":1,"value":7,"op":"SCMP_CMP_EQ"}]},
            {"names":["lseek"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":1,"value":255,"valueTwo":5,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
    );
    assert_eq!(filter.native("socket", &[2]), ALLOW);
    assert_eq!(filter.native("socket", &[3]), EPERM);
    assert_eq!(filter.native("ioctl", &[1, 7]), ALLOW);
    assert_eq!(filter.native("ioctl", &[0, 7]), EPERM);
    assert_eq!(filter.native("ioctl", &[1, 8]), EPERM);
    assert_eq!(filter.native("lseek", &[0, 0x1205]), ALLOW);
    assert_eq!(filter.native("lseek", &[0, 0x1206]), EPERM);
}

#[test]
fn other_defaults_answer_newer_calls_too() {
    let killing = Filter::json(r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[]}"#);
    assert_eq!(killing.native("read", &[]), 0x8000_0000);
    assert_eq!(killing.number(of_machine()[0], 5000, &[]), NOT_IMPLEMENTED);
    let unknown = Filter::json(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38}"#);
    assert_eq!(unknown.native("read", &[]), NOT_IMPLEMENTED);
}
