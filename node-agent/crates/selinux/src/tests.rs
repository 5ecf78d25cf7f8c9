use std::fs;
use std::path::Path;

use agent_types::{Classify as _, ErrorKind};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A machine with a policy that knows every label.
fn machine(mls: &str, contexts: Option<&str>) -> (TempDir, Selinux) {
    let place = tempfile::tempdir().unwrap();
    let (kernel, etc) = (place.path().join("kernel"), place.path().join("etc"));
    fs::create_dir_all(kernel.join("class/process")).unwrap();
    fs::write(kernel.join("mls"), mls).unwrap();
    fs::write(kernel.join("context"), "").unwrap();
    fs::create_dir_all(etc.join("own/contexts")).unwrap();
    fs::write(etc.join("config"), "SELINUX=enforcing\nSELINUXTYPE=own\n").unwrap();
    if let Some(contexts) = contexts {
        fs::write(etc.join("own/contexts/lxc_contexts"), contexts).unwrap();
    }
    let selinux = Selinux::at(kernel, etc);
    (place, selinux)
}

const CONTEXTS: &str = "process = \"system_u:system_r:container_t:s0\"\n\
    content = \"system_u:object_r:virt_var_lib_t:s0\"\n\
    file = \"system_u:object_r:container_file_t:s0\"\n";

fn wish(text: &str) -> LabelWish {
    let mut parts = text.splitn(4, ':').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    LabelWish {
        user: part(),
        role: part(),
        kind: part(),
        level: part(),
    }
}

const fn free(_: &str) -> bool {
    false
}

#[test]
fn without_a_policy_nothing_is_had_and_a_label_is_refused() {
    let nowhere = Path::new("/nonexistent");
    let selinux = Selinux::at(nowhere.into(), nowhere.into());
    assert!(!selinux.is_enabled());
    assert_eq!(selinux.default_type(), None);
    assert_eq!(selinux.for_pod(&wish(""), free).unwrap(), None);
    let error = selinux.for_pod(&wish("::spc_t"), free).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let shown = error.to_string();
    assert!(
        shown.contains("spc_t") && shown.contains("SELinux"),
        "{shown}"
    );
    let error = selinux.for_container(&wish(":::s0"), None, free);
    assert!(matches!(error, Err(LabelError::Absent { .. })));
}

#[test]
fn a_pod_has_a_level_of_its_own_and_the_policys_labels() {
    let (_place, selinux) = machine("1", Some(CONTEXTS));
    assert_eq!(selinux.default_type().as_deref(), Some("container_t"));
    let labels = selinux.for_pod(&wish(""), free).unwrap().unwrap();
    let level = labels.level.clone().unwrap();
    assert!(level.starts_with("s0:c"), "{level}");
    assert_eq!(
        labels.process,
        format!("system_u:system_r:container_t:{level}")
    );
    let mount = format!("system_u:object_r:container_file_t:{level}");
    assert_eq!(labels.mount, Some(mount));
    let asked = selinux
        .for_pod(&wish("u:r:t:s0:c5"), free)
        .unwrap()
        .unwrap();
    assert_eq!(asked.process, "u:r:t:s0:c5");
    assert_eq!(
        asked.mount.as_deref(),
        Some("u:object_r:container_file_t:s0:c5")
    );
}

#[test]
fn a_container_has_what_its_pod_has_but_for_what_it_asks_for() {
    let (_place, selinux) = machine("1", Some(CONTEXTS));
    let pod = selinux
        .for_pod(&wish(":::s0:c1,c2"), free)
        .unwrap()
        .unwrap();
    let same = selinux.for_container(&wish(""), Some(&pod), free).unwrap();
    assert_eq!(same.as_ref(), Some(&pod));
    let own = selinux.for_container(&wish("::spc_t"), Some(&pod), free);
    let own = own.unwrap().unwrap();
    assert_eq!(own.process, "system_u:system_r:spc_t:s0:c1,c2");
    assert_eq!(own.mount, pod.mount);
    let own = selinux.for_container(&wish(":::s0:c9"), Some(&pod), free);
    let own = own.unwrap().unwrap();
    assert_eq!(
        own.mount.as_deref(),
        Some("system_u:object_r:container_file_t:s0:c9")
    );
}

#[test]
fn a_policy_without_levels_or_without_containers_is_taken_as_it_is() {
    let (_place, selinux) = machine("0", Some(CONTEXTS));
    let labels = selinux.for_pod(&wish(""), free).unwrap().unwrap();
    assert_eq!(labels.process, "system_u:system_r:container_t");
    let (_place, selinux) = machine("1", None);
    assert_eq!(selinux.for_pod(&wish(""), free).unwrap(), None);
    let error = selinux.for_pod(&wish("::t"), free).unwrap_err();
    assert!(
        matches!(error, LabelError::Missing { part: "user" }),
        "{error}"
    );
    let labels = selinux.for_pod(&wish("u:r:t:s0"), free).unwrap().unwrap();
    assert_eq!((labels.process.as_str(), labels.mount), ("u:r:t:s0", None));
    let (_place, selinux) = machine("1", Some("process = nonsense\n"));
    let error = selinux.for_pod(&wish(""), free).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
}

proptest! {
    #[test]
    fn no_label_gets_out_of_a_mounts_options(text in "[ -~\n]{0,20}", part in 0_usize..4) {
        let (_place, selinux) = machine("1", Some(CONTEXTS));
        let mut asked = LabelWish::default();
        *[&mut asked.user, &mut asked.role, &mut asked.kind, &mut asked.level][part] = text;
        if let Ok(Some(labels)) = selinux.for_pod(&asked, free) {
            let all = labels.process + &labels.mount.unwrap();
            prop_assert!(!all.contains(['"', '\\', '\n', ' ', '=']));
        }
    }
}
