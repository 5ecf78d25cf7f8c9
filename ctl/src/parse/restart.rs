//! `--restart`.

use proto::agent::{RestartKind, RestartPolicy};

use super::ParseError;

/// Reads `no`, `on-failure[:COUNT]`, `always` or `unless-stopped`.
pub(crate) fn restart(text: &str) -> Result<RestartPolicy, ParseError> {
    let malformed = || ParseError::form(text, "no, on-failure[:COUNT], always or unless-stopped");
    let (name, most) = match text.split_once(':') {
        Some((name, most)) => (name, Some(most)),
        None => (text, None),
    };
    let kind = match name {
        "no" => RestartKind::Unspecified,
        "on-failure" => RestartKind::OnFailure,
        "always" => RestartKind::Always,
        "unless-stopped" => RestartKind::UnlessStopped,
        _ => return Err(malformed()),
    };
    let most = match most {
        None => 0,
        Some(most) if kind == RestartKind::OnFailure => most.parse().map_err(|_| malformed())?,
        Some(_) => return Err(malformed()),
    };
    Ok(RestartPolicy {
        kind: kind.into(),
        most,
    })
}

/// Returns the policy's name as docker has it.
pub(crate) fn restart_name(policy: RestartPolicy) -> &'static str {
    match policy.kind() {
        RestartKind::Unspecified => "no",
        RestartKind::OnFailure => "on-failure",
        RestartKind::Always => "always",
        RestartKind::UnlessStopped => "unless-stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        for (text, kind, most) in [
            ("no", RestartKind::Unspecified, 0),
            ("on-failure", RestartKind::OnFailure, 0),
            ("on-failure:3", RestartKind::OnFailure, 3),
            ("always", RestartKind::Always, 0),
            ("unless-stopped", RestartKind::UnlessStopped, 0),
        ] {
            let policy = restart(text).expect("a policy");
            assert_eq!((policy.kind(), policy.most), (kind, most), "{text}");
            assert_eq!(Some(restart_name(policy)), text.split(':').next());
        }
        for text in [
            "",
            "never",
            "always:3",
            "no:1",
            "on-failure:",
            "on-failure:-1",
        ] {
            assert!(restart(text).is_err(), "{text}");
        }
    }
}
