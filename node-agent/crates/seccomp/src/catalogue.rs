// size: a table of system calls
//! The default profile: what a container may ask of the kernel.
//!
//! Everything not named here is answered with EPERM (with ENOSYS if it is newer, see `newer.rs`).
//! The set is docker's of 2026. Calls are left out on purpose where they reach past namespaces or
//! open large parts of the kernel to anybody: keys, kernel modules, swapping, `userfaultfd`,
//! `io_uring`, `quotactl`, `vm86`.

use std::borrow::Cow;

use crate::arch;
use crate::profile::{Action, Comparison, Condition, Definition, Filter, Rule};
use crate::{Capabilities, KernelVersion};

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// Allowed to everybody, whatever the arguments.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
    epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat
    fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage
    getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link
    linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr
    lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir
    mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat _newselect open openat openat2
    pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2
    restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
    semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
    sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketpair splice stat stat64 statfs statfs64 statmount statx
    symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate
    truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64
    utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed to whoever has the capability.
const BY_CAPABILITY: [(&str, &str); 16] = [
    ("BPF", "bpf"),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("PERFMON", "perf_event_open"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    (
        "SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("SYS_PACCT", "acct"),
    (
        "SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("SYS_RAWIO", "ioperm iopl"),
    (
        "SYS_TIME",
        "clock_settime clock_settime64 settimeofday stime",
    ),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYSLOG", "syslog"),
    // The pair below only differs by architecture; both are harmless.
    ("", "arch_prctl modify_ldt"),
    (
        "",
        "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    ),
];

/// Allowed since the kernel checks them against escapes from a filter.
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";
const TRACING_SINCE: KernelVersion = KernelVersion { major: 4, minor: 8 };

/// Execution domains a program may switch to: Linux, and with 16-bit ids, each without and with
/// uname's old version; and asking for the present one.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEW*` of mount, cgroup, uts, ipc, user, pid and network namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Address families that are refused: the kernel's cryptography, whose flaws reach the page cache
/// of the host, and sockets to and from virtual machines, which know no network namespace.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

fn names(list: &'static str) -> Vec<Cow<'static, str>> {
    list.split_whitespace().map(Cow::Borrowed).collect()
}

fn allow(list: &'static str) -> Rule {
    Rule {
        names: names(list),
        action: Action::Allow,
        conditions: Vec::new(),
        includes: Filter::default(),
        excludes: Filter::default(),
    }
}

fn allow_if(name: &'static str, comparison: Comparison, value: u64) -> Rule {
    Rule {
        conditions: vec![Condition {
            index: 0,
            comparison,
            value,
        }],
        ..allow(name)
    }
}

fn by_capability(capability: &str) -> Filter {
    Filter {
        capabilities: Capabilities::named(capability).unwrap_or_default(),
        ..Filter::default()
    }
}

fn answer(name: &'static str, errno: u16) -> Rule {
    Rule {
        action: Action::Errno(errno),
        ..allow(name)
    }
}

/// Sockets of every family but two. Programs for ia32 have a second way to make one, whose
/// arguments a filter cannot see; it has to come first, because libseccomp opens that way by itself
/// for every socket call that is allowed later.
fn sockets() -> [Rule; 4] {
    [
        answer("socketcall", ENOSYS),
        allow_if("socket", Comparison::Less, AF_ALG),
        allow_if("socket", Comparison::Equal, AF_ALG + 1),
        allow_if("socket", Comparison::Greater, AF_VSOCK),
    ]
}

/// New namespaces only for whoever may administrate them. `clone3` hides its flags behind a
/// pointer; ENOSYS makes the C libraries fall back to `clone`.
fn clones() -> [Rule; 2] {
    let masked = Comparison::Masked {
        mask: NEW_NAMESPACES,
    };
    [
        Rule {
            excludes: by_capability("SYS_ADMIN"),
            ..allow_if("clone", masked, 0)
        },
        Rule {
            excludes: by_capability("SYS_ADMIN"),
            ..answer("clone3", ENOSYS)
        },
    ]
}

/// Returns the default profile.
pub(crate) fn definition() -> Definition {
    let mut rules: Vec<Rule> = sockets().into();
    rules.push(allow(ALWAYS));
    rules.push(Rule {
        includes: Filter {
            kernel: Some(TRACING_SINCE),
            ..Filter::default()
        },
        ..allow(TRACING)
    });
    rules.extend(PERSONALITIES.map(|value| allow_if("personality", Comparison::Equal, value)));
    rules.extend(BY_CAPABILITY.map(|(capability, list)| Rule {
        includes: by_capability(capability),
        ..allow(list)
    }));
    rules.extend(clones());
    Definition {
        default: Action::Errno(EPERM),
        others: arch::of_machine()[1..].to_vec(),
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_named_exists() {
        for (capability, _) in BY_CAPABILITY {
            assert!(
                capability.is_empty() || Capabilities::named(capability).is_some(),
                "{capability}"
            );
        }
    }

    #[test]
    fn no_call_is_listed_twice_for_the_same_reason() {
        let mut all = names(ALWAYS);
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(count > 340);
    }

    #[test]
    fn dangerous_calls_are_for_nobody_or_for_a_capability() {
        let always = names(ALWAYS);
        for call in [
            "add_key",
            "bpf",
            "clone",
            "clone3",
            "io_uring_setup",
            "kexec_load",
            "keyctl",
            "mount",
            "move_pages",
            "open_by_handle_at",
            "perf_event_open",
            "personality",
            "pivot_root",
            "ptrace",
            "reboot",
            "request_key",
            "setns",
            "socket",
            "socketcall",
            "swapon",
            "umount2",
            "unshare",
            "userfaultfd",
            "vm86",
        ] {
            assert!(!always.iter().any(|name| name == call), "{call}");
        }
    }
}
