//! The checks, each on a node without pods.

mod apparmor;
mod devices;
mod driver;
mod hybrid;
mod limits;
mod pid;
pub(crate) mod reboot;
mod restart;
mod selinux;
mod stats;
mod users;

use std::pin::Pin;

use anyhow::Result;

use crate::guest::Guest;

/// The work of a check.
type Work<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One thing that is to be so.
pub(crate) struct Check {
    /// What.
    pub(crate) name: &'static str,
    /// Fails if it is not.
    pub(crate) run: fn(&mut Guest) -> Work<'_>,
}

macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$(Check {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: |guest| Box::pin($module::$name(guest)),
        }),*]
    };
}

/// On a machine with v2 alone, before the reboot, in this order.
pub(crate) const CHECKS: &[Check] = checks![
    driver::is_told_and_refuses_what_is_no_slice,
    driver::a_containers_scope_lies_in_its_pods_slice,
    limits::hold_and_survive_a_reload_of_systemd,
    limits::change_all_or_nothing,
    limits::may_name_a_period_alone,
    limits::who_takes_too_much_memory_is_oom_killed,
    limits::of_a_pod_of_the_nodes_own,
    limits::of_processes_count_none_of_ours,
    devices::of_the_host_cannot_be_opened,
    apparmor::confines_as_it_is_asked_to,
    pid::a_shared_namespace_has_its_holder_in_a_scope,
    stats::tell_what_is_used,
    stats::tell_how_long_work_waits,
    stats::tell_what_is_swapped_out,
    users::of_a_pod_are_others_on_the_host,
    driver::without_systemd_directories_do,
    restart::pods_go_on_when_the_service_is_restarted,
    restart::pods_go_on_when_the_program_is_replaced,
    restart::pods_go_on_when_the_service_is_killed,
];

/// On a machine with the trees of v1.
pub(crate) const HYBRID: &[Check] = checks![
    driver::is_told_and_refuses_what_is_no_slice,
    hybrid::a_scope_is_limited_in_every_tree,
    limits::who_takes_too_much_memory_is_oom_killed,
    devices::of_the_host_cannot_be_opened,
    users::of_a_pod_are_others_on_the_host,
    restart::pods_go_on_when_the_service_is_restarted,
];

/// On a machine whose kernel has an SELinux policy.
pub(crate) const SELINUX: &[Check] = checks![
    selinux::labels_processes_and_files,
    selinux::are_what_is_asked_for,
    selinux::are_refused_where_the_policy_knows_them_not,
    selinux::volumes_are_relabelled_where_it_is_asked_for,
    selinux::confine_where_the_policy_is_enforced,
    selinux::reach_the_containers_of_other_runtimes,
    users::of_a_pod_are_others_on_the_host,
    selinux::outlive_a_restart,
];

/// After it.
pub(crate) const AFTER_REBOOT: &[Check] = checks![
    reboot::pods_have_ended_and_can_be_removed,
    reboot::the_node_works
];
