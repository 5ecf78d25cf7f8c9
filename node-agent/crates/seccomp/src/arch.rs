//! Architectures of the machine: the native one and those whose programs it runs too.

use libseccomp::ScmpArch;

/// An architecture as the kernel tells a filter about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Arch {
    /// The library's name for it.
    pub(crate) scmp: ScmpArch,
    /// The word in front of every call: `AUDIT_ARCH_*`.
    pub(crate) audit: u32,
    /// Profiles' name for it.
    pub(crate) profile: &'static str,
    /// Its numbers begin here: x32 shares x86-64's word and has a bit of its own.
    pub(crate) first: u32,
}

const X86_64: Arch = Arch {
    scmp: ScmpArch::X8664,
    audit: 0xc000_003e,
    profile: "SCMP_ARCH_X86_64",
    first: 0,
};
const X86: Arch = Arch {
    scmp: ScmpArch::X86,
    audit: 0x4000_0003,
    profile: "SCMP_ARCH_X86",
    first: 0,
};
const X32: Arch = Arch {
    scmp: ScmpArch::X32,
    audit: 0xc000_003e,
    profile: "SCMP_ARCH_X32",
    first: X32_BIT,
};
const AARCH64: Arch = Arch {
    scmp: ScmpArch::Aarch64,
    audit: 0xc000_00b7,
    profile: "SCMP_ARCH_AARCH64",
    first: 0,
};
const ARM: Arch = Arch {
    scmp: ScmpArch::Arm,
    audit: 0x4000_0028,
    profile: "SCMP_ARCH_ARM",
    first: 0,
};

/// Marks a call of the x32 kind.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Returns the machine's architectures, the native one first.
pub(crate) const fn of_machine() -> &'static [Arch] {
    if cfg!(target_arch = "aarch64") {
        &[AARCH64, ARM]
    } else {
        &[X86_64, X86, X32]
    }
}

/// Returns the names that rules use for the native architecture.
pub(crate) const fn native_in_rules() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}
