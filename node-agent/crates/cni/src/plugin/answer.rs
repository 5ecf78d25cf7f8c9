//! What a plugin's output means.

use agent_program::{Output, one_line};
use serde::Deserialize;
use serde_json::Value;

use super::{Command, PluginError};
use crate::version::SpecVersion;

/// Longest complaint that is passed on, in characters.
const MAX_COMPLAINT: usize = 1000;

/// An error as plugins write it.
#[derive(Deserialize)]
struct Refusal {
    code: u64,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    details: String,
}

/// The answer to VERSION.
#[derive(Deserialize)]
struct Versions {
    #[serde(rename = "supportedVersions", default)]
    supported: Vec<String>,
}

/// Returns the answer of a plugin that succeeded, or what it says went wrong.
pub(super) fn read(plugin: &str, command: Command, output: Output) -> Result<Value, PluginError> {
    if output.ending.is_success() {
        let text = output.stdout.trim_ascii();
        if text.is_empty() || !matches!(command, Command::Add | Command::Version) {
            return Ok(Value::Null);
        }
        return serde_json::from_slice(text).map_err(|source| PluginError::Answer {
            plugin: plugin.to_owned(),
            command,
            source,
        });
    }
    match serde_json::from_slice::<Refusal>(&output.stdout) {
        Ok(refusal) => Err(PluginError::Refused {
            plugin: plugin.to_owned(),
            command,
            code: refusal.code,
            message: message(&refusal),
        }),
        Err(_) => Err(PluginError::Died {
            plugin: plugin.to_owned(),
            command,
            ending: output.ending,
            said: output.said,
        }),
    }
}

fn message(refusal: &Refusal) -> String {
    let whole = match (refusal.msg.trim(), refusal.details.trim()) {
        (message, "") => message.to_owned(),
        ("", details) => details.to_owned(),
        (message, details) => format!("{message}; {details}"),
    };
    one_line(&whole, MAX_COMPLAINT)
}

/// Returns the versions that an answer to VERSION names; an old plugin names none and speaks the oldest.
pub(crate) fn supported_versions(answer: &Value) -> Vec<SpecVersion> {
    let named = Versions::deserialize(answer).map(|versions| versions.supported);
    let named = named.unwrap_or_default();
    if named.is_empty() {
        return vec![SpecVersion::V0_1_0];
    }
    let known = named.iter().filter(|text| !text.is_empty());
    known
        .filter_map(|text| SpecVersion::parse(text).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Ending;
    use super::*;
    use serde_json::json;

    fn output(ending: Ending, stdout: &str) -> Output {
        Output {
            ending,
            stdout: stdout.as_bytes().to_vec(),
            said: "last words".to_owned(),
        }
    }

    fn text(ending: Ending, stdout: &str) -> String {
        match read("p", Command::Add, output(ending, stdout)) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_plugin_says_is_told_as_it_is_meant() {
        let failed = Ending::Exited(1);
        for (ending, stdout, expected) in [
            (Ending::Exited(0), r#"{"ips": []}"#, r#"{"ips":[]}"#),
            (Ending::Exited(0), "\n", "null"),
            (
                Ending::Exited(0),
                "{",
                "CNI plugin p answered ADD with what cannot be read",
            ),
            (
                failed,
                r#"{"cniVersion": "1.0.0", "code": 7, "msg": "no subnet", "details": "line 1\nline 2"}"#,
                "CNI plugin p refused ADD (code 7): no subnet; line 1 line 2",
            ),
            (
                failed,
                r#"{"code": 11, "msg": "later"}"#,
                "CNI plugin p refused ADD (code 11): later",
            ),
            (
                failed,
                "Traceback",
                "CNI plugin p ended with code 1 during ADD: last words",
            ),
            (
                Ending::Killed(9),
                "",
                "CNI plugin p was killed by signal 9 during ADD: last words",
            ),
        ] {
            assert_eq!(text(ending, stdout), expected);
        }
    }

    #[test]
    fn only_add_and_version_have_an_answer() {
        let done = read("p", Command::Del, output(Ending::Exited(0), "chatter"));
        assert_eq!(done.unwrap(), Value::Null);
    }

    #[test]
    fn versions_are_those_named() {
        let answer =
            json!({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0", "9.9.9"]});
        assert_eq!(
            supported_versions(&answer),
            [SpecVersion::V0_4_0, SpecVersion::V1_0_0]
        );
        assert_eq!(supported_versions(&Value::Null), [SpecVersion::V0_1_0]);
    }
}
