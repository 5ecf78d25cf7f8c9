//! Whose a parent is, and what becomes of cgroups that others take away.

use agent_cgroup::{CgroupTree, ClaimError, Config, CreateError, DeviceRules, Limits, StrayError};

use crate::own::{Own, run_in, until};

/// Returns another agent's view of the same parent.
fn another(own: &Own) -> CgroupTree {
    CgroupTree::open(Config::with_parent(own.tree.parent().clone())).unwrap()
}

/// Takes the parent away with all that is below it, as somebody does who clears the machine.
fn take_away(own: &Own) {
    for path in own.tree.list_ours().unwrap().iter().map(|one| &one.path) {
        own.tree
            .open_cgroup(path)
            .unwrap()
            .unwrap()
            .remove()
            .unwrap();
    }
    assert!(own.tree.remove_parent());
}

#[test]
fn a_parent_is_one_agents_at_a_time() {
    let own = Own::new();
    let other = another(&own);
    let claim = own.tree.claim().unwrap();
    own.tree.renew_claim().unwrap();
    assert!(matches!(other.claim(), Err(ClaimError::Taken { .. })));
    drop(claim);
    drop(other.claim().unwrap());
    drop(own.tree.claim().unwrap());
}

#[test]
fn nothing_is_removed_below_a_parent_that_was_made_again_by_another_agent() {
    let own = Own::new();
    let _claim = own.tree.claim().unwrap();
    own.pod();
    take_away(&own);
    let other = another(&own);
    let taken = other.claim().unwrap();
    // The pod of the other, which has no container yet.
    let pod = own.pod();
    let listed = own.tree.list_ours().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    for _ in 0..2 {
        let refused = own.tree.remove_stray(&listed[0]).unwrap_err();
        let StrayError::Claim(ClaimError::Taken { parent }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!(parent, own.tree.parent());
        assert!(own.tree.renew_claim().is_err());
    }
    let all = own.tree.hierarchies().len();
    assert_eq!(own.present(&pod.path), all);
    // Once the other is gone, it may be had again.
    drop(taken);
    assert!(own.tree.remove_stray(&listed[0]).unwrap());
    assert_eq!(own.present(&pod.path), 0);
    assert!(matches!(other.claim(), Err(ClaimError::Taken { .. })));
}

#[test]
fn a_stray_with_a_process_stays() {
    let own = Own::new();
    let _claim = own.tree.claim().unwrap();
    let cgroup = own.container(&Limits::default());
    let mut child = run_in(&cgroup, "exec sleep 1000");
    until("the process is in it", || {
        !cgroup.processes().unwrap().is_empty()
    });
    let listed = own.tree.list_ours().unwrap();
    let leaf = listed.iter().find(|one| one.path == *cgroup.path());
    assert!(!own.tree.remove_stray(leaf.unwrap()).unwrap());
    assert!(child.try_wait().unwrap().is_none(), "it goes on");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(own.tree.remove_stray(leaf.unwrap()).unwrap());
    assert!(!own.tree.remove_stray(leaf.unwrap()).unwrap(), "once");
}

#[test]
fn a_pods_cgroup_that_is_gone_is_made_again_with_its_limits() {
    let mut own = Own::new();
    let of_pod = Limits {
        memory: Some(64 << 20),
        ..Limits::default()
    };
    let pod = own.pod();
    let path = pod.path.join("container").unwrap();
    take_away(&own);
    let begin = || own.tree.begin(&path, &Limits::default()).map(drop);
    assert!(matches!(begin(), Err(CreateError::Directory { .. })));
    let begun = own.tree.begin_in_pod(&path, &Limits::default(), &of_pod);
    let made = begun.unwrap().finish(&DeviceRules::container_default());
    made.unwrap().settle().unwrap();
    let again = own.tree.open_cgroup(&pod.path).unwrap().unwrap();
    assert_eq!(again.actual().unwrap().memory, of_pod.memory);
    // A kubelet's own level is not ours to make.
    let outside: agent_cgroup::CgroupPath = format!("{}-outside/pod/c", own.tree.parent())
        .parse()
        .unwrap();
    own.extra = vec![outside.parent().unwrap().parent().unwrap()];
    let refused = own.tree.begin_in_pod(&outside, &Limits::default(), &of_pod);
    assert!(matches!(refused, Err(CreateError::Directory { .. })));
    assert_eq!(own.present(&own.extra[0]), 0);
}
