//! How a process ended, as clients of the cluster API are told.

use serde_json::json;

use crate::backend::Failure;

/// How a version of the protocol tells the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line of text where it failed, nothing where it did not.
    Text,
    /// A `Status` object of `meta/v1`, always.
    Object,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With this code; streams that end without one succeed.
    Code(i32),
    /// It could not be run, or lost sight of.
    Failed(Failure),
}

/// Returns what goes over the error stream.
pub(crate) fn message(form: Form, end: &End) -> Vec<u8> {
    let text = match end {
        End::Code(0) => String::new(),
        End::Code(code) => format!("command terminated with exit code {code}"),
        End::Failed(failure) => failure.text(),
    };
    let object = match end {
        _ if form == Form::Text => return text.into_bytes(),
        End::Code(0) => json!({"metadata": {}, "status": "Success"}),
        End::Code(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: {text}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        End::Failed(_) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("Internal error occurred: {text}"),
            "reason": "InternalError",
            "details": {"causes": [{"message": text}]},
            "code": 500,
        }),
    };
    object.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(end: &End) -> serde_json::Value {
        serde_json::from_slice(&message(Form::Object, end)).unwrap()
    }

    #[test]
    fn success_is_an_object_or_nothing() {
        assert_eq!(message(Form::Text, &End::Code(0)), b"");
        assert_eq!(object(&End::Code(0))["status"], "Success");
    }

    #[test]
    fn an_exit_code_is_a_cause() {
        let status = object(&End::Code(3));
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0]["reason"], "ExitCode");
        assert_eq!(status["details"]["causes"][0]["message"], "3");
        assert_eq!(
            message(Form::Text, &End::Code(3)),
            b"command terminated with exit code 3"
        );
    }

    #[test]
    fn a_failure_is_an_internal_error() {
        let status = object(&End::Failed(Failure::new("no such program")));
        assert_eq!(status["reason"], "InternalError");
        assert_eq!(status["code"], 500);
        assert!(
            status["message"]
                .as_str()
                .unwrap()
                .contains("no such program")
        );
    }
}
