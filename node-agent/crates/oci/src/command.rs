//! Which program runs: one rule for Kubernetes and for docker.

use crate::error::{PlanError, without_nul};
use crate::{ContainerPlan, ImageDefaults};

/// Returns the arguments of a container's first process.
///
/// | request | arguments |
/// |---|---|
/// | nothing | image entrypoint, image command |
/// | arguments | image entrypoint, arguments |
/// | entrypoint | entrypoint |
/// | both | entrypoint, arguments |
pub(crate) fn arguments(plan: &ContainerPlan) -> Result<Vec<String>, PlanError> {
    let ImageDefaults {
        entrypoint,
        command,
        ..
    } = &plan.image;
    let (first, second) = match &plan.entrypoint {
        Some(entrypoint) => (entrypoint, &plan.arguments),
        None if plan.arguments.is_empty() => (entrypoint, command),
        None => (entrypoint, &plan.arguments),
    };
    // Docker's `--entrypoint ""` arrives as one empty text.
    let first = if first.first().is_some_and(String::is_empty) {
        &[]
    } else {
        first.as_slice()
    };
    checked(first.iter().chain(second).cloned().collect())
}

/// Refuses arguments without a program, or that no system call can take.
pub(crate) fn checked(arguments: Vec<String>) -> Result<Vec<String>, PlanError> {
    if arguments.first().is_none_or(String::is_empty) {
        return Err(PlanError::NoCommand);
    }
    arguments
        .iter()
        .try_for_each(|argument| without_nul("argument", argument))?;
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn merged(
        entrypoint: Option<&[&str]>,
        arguments_given: &[&str],
    ) -> Result<Vec<String>, PlanError> {
        arguments(&ContainerPlan {
            image: ImageDefaults {
                entrypoint: strings(&["/entry", "-x"]),
                command: strings(&["serve"]),
                ..ImageDefaults::default()
            },
            entrypoint: entrypoint.map(strings),
            arguments: strings(arguments_given),
            ..ContainerPlan::default()
        })
    }

    #[test]
    fn the_four_cases_of_kubernetes_and_docker() {
        assert_eq!(merged(None, &[]).unwrap(), ["/entry", "-x", "serve"]);
        assert_eq!(merged(None, &["a"]).unwrap(), ["/entry", "-x", "a"]);
        assert_eq!(merged(Some(&["/bin/sh"]), &[]).unwrap(), ["/bin/sh"]);
        assert_eq!(
            merged(Some(&["/bin/sh"]), &["-c", "x"]).unwrap(),
            ["/bin/sh", "-c", "x"]
        );
    }

    #[test]
    fn an_entrypoint_can_be_reset() {
        assert_eq!(merged(Some(&[""]), &["ls"]).unwrap(), ["ls"]);
        assert_eq!(merged(Some(&[]), &["ls"]).unwrap(), ["ls"]);
        assert_eq!(merged(Some(&[]), &[]), Err(PlanError::NoCommand));
    }

    #[test]
    fn a_nul_and_an_empty_program_are_refused() {
        assert!(matches!(
            merged(None, &["a\0b"]),
            Err(PlanError::Nul {
                field: "argument",
                ..
            })
        ));
        assert_eq!(checked(strings(&["", "x"])), Err(PlanError::NoCommand));
    }
}
