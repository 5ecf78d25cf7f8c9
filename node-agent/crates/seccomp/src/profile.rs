//! What a profile says, wherever it came from.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use crate::arch::{self, Arch};
use crate::{
    Bpf, Capabilities, CompileError, KernelVersion, ProfileError, catalogue, compile, json, oci,
};

/// A seccomp profile. Cheap to clone and to compare.
#[derive(Debug, Clone)]
pub struct Profile {
    definition: Arc<Definition>,
    fingerprint: u64,
}

impl Profile {
    /// Returns the profile for containers that ask for the default one.
    #[must_use]
    pub fn default_profile() -> Self {
        static DEFAULT: LazyLock<Profile> = LazyLock::new(|| Profile::of(catalogue::definition()));
        DEFAULT.clone()
    }

    /// Reads a profile in docker's or OCI's form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ProfileError> {
        json::parse(bytes).map(Self::of)
    }

    fn of(definition: Definition) -> Self {
        let mut hasher = DefaultHasher::new();
        definition.hash(&mut hasher);
        Self {
            definition: Arc::new(definition),
            fingerprint: hasher.finish(),
        }
    }

    /// Compiles it for a container with these capabilities. Takes 5 to 20 ms: see [`crate::Cache`].
    pub fn compile(
        &self,
        capabilities: Capabilities,
        kernel: KernelVersion,
    ) -> Result<Bpf, CompileError> {
        compile::compile(&self.definition, capabilities, kernel)
    }

    /// Returns it in the OCI specification's form, for a runtime that compiles it by itself: the rules
    /// that hold for a container with these capabilities.
    #[must_use]
    pub fn to_oci(&self, capabilities: Capabilities, kernel: KernelVersion) -> serde_json::Value {
        oci::to_oci(&self.definition, capabilities, kernel)
    }

    /// Returns those of `capabilities` that make a difference to this profile.
    pub(crate) fn relevant(&self, capabilities: Capabilities) -> Capabilities {
        let filters = self
            .definition
            .rules
            .iter()
            .flat_map(|rule| [&rule.includes, &rule.excludes]);
        let asked = filters.fold(Capabilities::default(), |all, f| all.with(f.capabilities));
        capabilities.only(asked)
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
            && (Arc::ptr_eq(&self.definition, &other.definition)
                || self.definition == other.definition)
    }
}

impl Eq for Profile {}

impl Hash for Profile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

/// The content of a profile.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Definition {
    /// What calls without a rule get.
    pub(crate) default: Action,
    /// Beside the native architecture.
    pub(crate) others: Vec<Arch>,
    /// In order; the earlier wins where two disagree about a call as a whole.
    pub(crate) rules: Vec<Rule>,
}

impl Definition {
    /// Returns the architectures it is compiled for, the native one first.
    pub(crate) fn architectures(&self) -> impl Iterator<Item = Arch> {
        let native = arch::of_machine()[0];
        let others = self
            .others
            .iter()
            .copied()
            .filter(move |arch| *arch != native);
        std::iter::once(native).chain(others)
    }

    /// Returns every call it has a rule for, whether or not the rule holds.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .flat_map(|rule| rule.names.iter().map(AsRef::as_ref))
    }
}

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Allow,
    Log,
    Errno(u16),
    Trace(u16),
    Trap,
    KillThread,
    KillProcess,
}

impl Action {
    /// Says whether the call is made.
    pub(crate) const fn lets_pass(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Equal after the argument was masked.
    Masked {
        mask: u64,
    },
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    pub(crate) index: u32,
    pub(crate) comparison: Comparison,
    pub(crate) value: u64,
}

/// When a rule holds, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Filter {
    pub(crate) capabilities: Capabilities,
    pub(crate) arches: Vec<Cow<'static, str>>,
    pub(crate) kernel: Option<KernelVersion>,
}

/// What some calls get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) names: Vec<Cow<'static, str>>,
    pub(crate) action: Action,
    /// All must hold.
    pub(crate) conditions: Vec<Condition>,
    /// All must hold.
    pub(crate) includes: Filter,
    /// None may hold.
    pub(crate) excludes: Filter,
}

impl Rule {
    /// Says whether it applies to a container with these capabilities on this machine.
    pub(crate) fn holds(&self, capabilities: Capabilities, kernel: KernelVersion) -> bool {
        let native = arch::native_in_rules();
        let includes = &self.includes;
        let included = capabilities.has_all(includes.capabilities)
            && (includes.arches.is_empty() || includes.arches.iter().any(|arch| arch == native))
            && includes.kernel.is_none_or(|least| kernel >= least);
        let excludes = &self.excludes;
        let excluded = capabilities.has_any(excludes.capabilities)
            || excludes.arches.iter().any(|arch| arch == native)
            || excludes.kernel.is_some_and(|least| kernel >= least);
        included && !excluded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_profiles_are_equal_wherever_they_came_from() {
        let json = br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        let (one, two) = (
            Profile::from_json(json).unwrap(),
            Profile::from_json(json).unwrap(),
        );
        assert_eq!(one, two);
        assert_ne!(one, Profile::default_profile());
        assert_eq!(Profile::default_profile(), Profile::default_profile());
    }

    #[test]
    fn only_capabilities_that_matter_are_kept() {
        let profile = Profile::default_profile();
        let chown = Capabilities::named("CHOWN").unwrap();
        let admin = Capabilities::named("SYS_ADMIN").unwrap();
        assert_eq!(profile.relevant(chown.with(admin)), admin);
    }

    #[test]
    fn rules_hold_by_capability_architecture_and_kernel() {
        let admin = Capabilities::named("SYS_ADMIN").unwrap();
        let version = |major, minor| KernelVersion { major, minor };
        let rule = |includes, excludes| Rule {
            names: Vec::new(),
            action: Action::Allow,
            conditions: Vec::new(),
            includes,
            excludes,
        };
        let caps = || Filter {
            capabilities: admin,
            ..Filter::default()
        };
        let kernel = || Filter {
            kernel: Some(version(4, 8)),
            ..Filter::default()
        };
        let foreign = || Filter {
            arches: vec!["s390x".into()],
            ..Filter::default()
        };
        let none = Capabilities::default();
        assert!(rule(caps(), Filter::default()).holds(admin, version(6, 1)));
        assert!(!rule(caps(), Filter::default()).holds(none, version(6, 1)));
        assert!(!rule(Filter::default(), caps()).holds(admin, version(6, 1)));
        assert!(!rule(kernel(), Filter::default()).holds(none, version(4, 7)));
        assert!(!rule(Filter::default(), kernel()).holds(none, version(4, 8)));
        assert!(!rule(foreign(), Filter::default()).holds(none, version(6, 1)));
        assert!(rule(Filter::default(), foreign()).holds(none, version(6, 1)));
    }
}
