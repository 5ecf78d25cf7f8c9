//! Platforms: operating system, architecture and variant, in the words of OCI indexes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Classify, ErrorKind};

/// Why a string is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Not one to three parts made of letters, digits, `_`, `.` and `-`.
    #[error("platform {value:?} is not of the form os/architecture[/variant]")]
    Form {
        /// The refused text, cut to 100 characters.
        value: String,
    },
}

impl Classify for PlatformError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// What an image runs on, normalised: `x86_64` is `amd64`, `aarch64` is `arm64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: Box<str>,
    architecture: Box<str>,
    variant: Option<Box<str>>,
}

impl Platform {
    /// Returns the normalised platform; empty `variant` means none.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let (os, architecture, variant) = (lower(os), lower(architecture), lower(variant));
        let (architecture, variant) = normalise(&architecture, &variant);
        Self {
            os: if os == "macos" {
                "darwin".into()
            } else {
                os.into()
            },
            architecture: architecture.into(),
            variant: (!variant.is_empty()).then(|| variant.into()),
        }
    }

    /// Returns the platform this program runs on, with the level of an x86-64 processor.
    #[must_use]
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, host_variant())
    }

    /// Returns the operating system, such as `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Returns the architecture in Go's words, such as `amd64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the variant, such as `v7` of `arm`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Says how well an image for `candidate` fits this platform: 0 is best, `None` does not run.
    ///
    /// A processor runs images of its own and of lower levels, and prefers the highest of them.
    #[must_use]
    pub fn fit(&self, candidate: &Self) -> Option<u32> {
        if self.os != candidate.os {
            return None;
        }
        let (own, other) = (self.level(), candidate.level());
        if self.architecture == candidate.architecture {
            return match (own, other) {
                (Some(own), Some(other)) => own.checked_sub(other),
                _ => (self.variant == candidate.variant).then_some(0),
            };
        }
        // 32-bit code on a 64-bit processor, after everything native.
        match (&*self.architecture, &*candidate.architecture) {
            ("amd64", "386") => Some(100),
            ("arm64", "arm") => Some(100 + 8_u32.checked_sub(other?)?),
            _ => None,
        }
    }

    /// Returns the place of the variant among those of its architecture.
    fn level(&self) -> Option<u32> {
        let number = |default: u32| match self.variant() {
            None => Some(default),
            Some(variant) => variant
                .strip_prefix('v')
                .map(|text| text.split_once('.').map_or(text, |(major, _)| major))
                .and_then(|text| text.parse().ok()),
        };
        match &*self.architecture {
            "amd64" => number(1),
            "arm" => number(7),
            "arm64" => number(8),
            _ => number(0),
        }
    }
}

fn normalise<'a>(architecture: &'a str, variant: &'a str) -> (&'a str, &'a str) {
    match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", "v1" | "1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", _) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", _) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7" | "v7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6" | "v6") => ("arm", "v6"),
        ("arm", "5" | "v5") => ("arm", "v5"),
        ("arm", "8" | "v8") => ("arm", "v8"),
        ("powerpc64le" | "powerpc64", _) => ("ppc64le", variant),
        ("loongarch64", _) => ("loong64", variant),
        _ => (architecture, variant),
    }
}

#[cfg(target_arch = "x86_64")]
fn host_variant() -> &'static str {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse4.2") && has!("ssse3") && has!("popcnt") && has!("cmpxchg16b");
    let v3 = v2 && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("fma") && has!("lzcnt");
    let v4 = v3
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512cd")
        && has!("avx512dq")
        && has!("avx512vl");
    match (v2, v3, v4) {
        (_, _, true) => "v4",
        (_, true, _) => "v3",
        (true, _, _) => "v2",
        _ => "",
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn host_variant() -> &'static str {
    ""
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses `os/architecture[/variant]`, or one word naming either, as docker's `--platform`.
    fn from_str(value: &str) -> Result<Self, PlatformError> {
        let refused = || PlatformError::Form {
            value: value.chars().take(100).collect(),
        };
        let word = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = value.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(refused());
        }
        match parts[..] {
            [os] if matches!(
                os.to_ascii_lowercase().as_str(),
                "linux" | "windows" | "darwin" | "freebsd"
            ) =>
            {
                Ok(Self::new(os, std::env::consts::ARCH, ""))
            }
            [architecture] => Ok(Self::new("linux", architecture, "")),
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(refused()),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;
    fn try_from(value: String) -> Result<Self, PlatformError> {
        value.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn other_names_are_normalised() {
        for (typed, meant) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("Linux/AArch64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(platform(typed).to_string(), meant);
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/../x/y"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_host_runs_its_own_images() {
        let host = Platform::host();
        assert_eq!(host.fit(&host), Some(0));
        let plain = Platform::new("linux", std::env::consts::ARCH, "");
        assert!(host.fit(&plain).is_some());
    }

    #[test]
    fn lower_levels_run_and_higher_ones_do_not() {
        let v3 = platform("linux/amd64/v3");
        assert_eq!(v3.fit(&platform("linux/amd64/v2")), Some(1));
        assert_eq!(v3.fit(&platform("linux/amd64")), Some(2));
        assert_eq!(v3.fit(&platform("linux/386")), Some(100));
        assert_eq!(v3.fit(&platform("linux/amd64/v4")), None);
        assert_eq!(v3.fit(&platform("windows/amd64")), None);
        assert_eq!(v3.fit(&platform("unknown/unknown")), None);
        let arm64 = platform("linux/arm64");
        assert_eq!(arm64.fit(&platform("linux/arm64/v8")), Some(0));
        assert!(arm64.fit(&platform("linux/arm/v7")) < arm64.fit(&platform("linux/arm/v6")));
        assert_eq!(
            platform("linux/arm/v6").fit(&platform("linux/arm/v7")),
            None
        );
        assert_eq!(
            platform("linux/riscv64").fit(&platform("linux/riscv64")),
            Some(0)
        );
    }

    proptest! {
        #[test]
        fn text_round_trips(os in "[a-z]{1,8}", arch in "[a-z0-9_]{1,8}", variant in proptest::option::of("v[1-9]")) {
            let platform = Platform::new(&os, &arch, variant.as_deref().unwrap_or(""));
            prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }
}
