use std::fs;
use std::process::Command;

use agent_types::{Classify as _, ErrorKind};
use tempfile::TempDir;

use super::*;

/// A machine with one profile, and a parser that does this; empty: none.
fn machine(enabled: &str, parser: &str) -> (TempDir, Apparmor) {
    let directory = tempfile::tempdir().unwrap();
    let sysfs = directory.path().to_owned();
    let switch = sysfs.join("module/apparmor/parameters");
    fs::create_dir_all(&switch).unwrap();
    fs::write(switch.join("enabled"), enabled).unwrap();
    let security = sysfs.join("kernel/security/apparmor");
    fs::create_dir_all(&security).unwrap();
    fs::write(security.join("profiles"), "mine (enforce)\n").unwrap();
    if !parser.is_empty() {
        // Written by somebody else: a file that a process here has open for writing, even one that
        // was only just forked, cannot be executed.
        let written = Command::new("/bin/sh")
            .args([
                "-c",
                "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"",
            ])
            .arg(sysfs.join("apparmor_parser"))
            .arg(parser)
            .status();
        assert!(written.unwrap().success());
    }
    let directories = vec![sysfs.join("missing"), sysfs.clone()];
    (directory, Apparmor::at(sysfs, directories))
}

fn why_not_loaded(apparmor: &Apparmor) -> String {
    let error = apparmor.default_profile().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    match error {
        ProfileError::Default { source } => source.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn without_apparmor_there_is_no_default_and_no_other_profile() {
    let (_directory, apparmor) = machine("N\n", "exit 1");
    assert!(!apparmor.is_enabled());
    assert_eq!(apparmor.default_profile().unwrap(), None);
    let error = apparmor.check("mine").unwrap_err();
    assert!(matches!(error, ProfileError::Absent { .. }));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("mine"), "{error}");
}

#[test]
fn the_default_is_loaded_under_its_name() {
    let (directory, apparmor) = machine("Y\n", "cat >\"${0%/*}/loaded\"");
    assert_eq!(apparmor.default_profile().unwrap(), Some(DEFAULT_PROFILE));
    let loaded = fs::read_to_string(directory.path().join("loaded")).unwrap();
    assert_eq!(loaded, DEFAULT_TEXT);
    assert!(DEFAULT_TEXT.contains(&format!("profile {DEFAULT_PROFILE} ")));
}

#[test]
fn a_default_that_is_not_loaded_says_why() {
    let (_directory, apparmor) = machine("Y\n", "echo no such abi >&2; exit 7");
    for _ in 0..2 {
        let why = why_not_loaded(&apparmor);
        assert!(why.contains("code 7: no such abi"), "{why}");
    }
    let (_directory, apparmor) = machine("Y\n", "");
    let why = why_not_loaded(&apparmor);
    assert!(why.contains("apparmor_parser"), "{why}");
}

#[test]
fn profiles_are_found_by_their_whole_names() {
    let (_directory, apparmor) = machine("Y\n", "");
    apparmor.check("mine").unwrap();
    let error = apparmor.check("min").unwrap_err();
    assert!(matches!(error, ProfileError::NotLoaded { .. }));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_parser_that_never_stops_talking_is_ended() {
    let (_directory, apparmor) = machine("Y\n", "while :; do echo more and more; done");
    let error = apparmor.default_profile().unwrap_err();
    let ProfileError::Default { source } = error else {
        panic!("{error}");
    };
    assert!(matches!(
        &*source,
        LoadError::Run {
            source: agent_program::RunError::TooMuch { .. }
        }
    ));
}

#[tokio::test]
async fn an_asynchronous_caller_may_wait_for_it() {
    let (_directory, apparmor) = machine("Y\n", "cat >/dev/null");
    assert_eq!(apparmor.default_profile().unwrap(), Some(DEFAULT_PROFILE));
}
