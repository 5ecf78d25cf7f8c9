use std::fs;

use agent_types::{Classify as _, ErrorKind};
use tempfile::TempDir;

use super::*;

/// A machine with one profile, and this program in the parser's place.
fn machine(enabled: &str, parser: &str) -> (TempDir, Apparmor) {
    let directory = tempfile::tempdir().unwrap();
    let sysfs = directory.path().to_owned();
    let switch = sysfs.join("module/apparmor/parameters");
    fs::create_dir_all(&switch).unwrap();
    fs::write(switch.join("enabled"), enabled).unwrap();
    let security = sysfs.join("kernel/security/apparmor");
    fs::create_dir_all(&security).unwrap();
    fs::write(security.join("profiles"), "mine (enforce)\n").unwrap();
    let parsers = vec![sysfs.join("missing"), PathBuf::from(parser)];
    (directory, Apparmor::at(sysfs, parsers))
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
    let (_directory, apparmor) = machine("N\n", "/bin/false");
    assert!(!apparmor.is_enabled());
    assert_eq!(apparmor.default_profile().unwrap(), None);
    let error = apparmor.check("mine").unwrap_err();
    assert!(matches!(error, ProfileError::Absent { .. }));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("mine"), "{error}");
}

#[test]
fn the_default_is_loaded_under_its_name() {
    let (_directory, apparmor) = machine("Y\n", "/bin/true");
    assert_eq!(apparmor.default_profile().unwrap(), Some(DEFAULT_PROFILE));
    assert!(DEFAULT_TEXT.contains(&format!("profile {DEFAULT_PROFILE} ")));
}

#[test]
fn a_default_that_is_not_loaded_says_why() {
    // It knows no such option.
    let (_directory, apparmor) = machine("Y\n", "/bin/cat");
    for _ in 0..2 {
        let why = why_not_loaded(&apparmor);
        assert!(why.contains("option"), "{why}");
    }
    let (_directory, apparmor) = machine("Y\n", "/nowhere");
    let why = why_not_loaded(&apparmor);
    assert!(why.contains("apparmor_parser"), "{why}");
}

#[test]
fn profiles_are_found_by_their_whole_names() {
    let (_directory, apparmor) = machine("Y\n", "/nowhere");
    apparmor.check("mine").unwrap();
    let error = apparmor.check("min").unwrap_err();
    assert!(matches!(error, ProfileError::NotLoaded { .. }));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
