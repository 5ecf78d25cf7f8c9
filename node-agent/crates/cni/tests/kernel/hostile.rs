//! Plugins that hang, die, flood, and leave children behind.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use agent_cni::{AttachError, Attachment, Capabilities, Cni, PlanError, PluginError};
use agent_sys::netns;
use agent_types::{Classify, ErrorKind};

use crate::harness::{Host, eventually, on_host, runs, spec};

/// Long enough for a shell to get to where it hangs, on a busy machine.
const SHORT: Duration = Duration::from_secs(3);

/// Plans and attaches; returns what the plugin did wrong.
async fn attach(cni: &Cni) -> (Attachment, PluginError) {
    let mut attachment = cni.plan(spec("s1", Capabilities::default())).await.unwrap();
    let netns = netns::create().unwrap();
    match cni.attach(&mut attachment, netns.as_fd()).await {
        Err(AttachError::Plugin { source, .. }) => (attachment, source),
        other => panic!("{other:?}"),
    }
}

fn pid(host: &Host, name: &str) -> String {
    fs::read_to_string(host.path("bin").join(name)).unwrap()
}

#[test]
fn a_plugin_that_hangs_is_killed_with_everything_it_started() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does(
            "one",
            "ADD",
            r#"echo stuck >&2; sleep 1000 & echo $! >"$here/child"; echo $$ >"$here/self"; trap '' TERM; wait; sleep 1000"#,
        );
        let (attachment, error) = attach(&host.open_with(SHORT)).await;
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(
            error.to_string(),
            "CNI plugin one did not end within 3 s of ADD and was killed: stuck"
        );
        for name in ["child", "self"] {
            let pid = pid(&host, name);
            eventually("the group is killed", || !runs(&pid)).await;
        }
        host.open().detach(&attachment).await.unwrap();
        host.assert_no_pins();
    });
}

#[test]
fn a_caller_that_goes_away_takes_the_plugin_with_it() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does(
            "one",
            "ADD",
            r#"echo $$ >"$here/part"; mv "$here/part" "$here/self"; sleep 1000"#,
        );
        let cni = host.open();
        let running = tokio::spawn(async move { drop(attach(&cni).await) });
        eventually("it runs", || host.path("bin/self").exists()).await;
        running.abort();
        let pid = pid(&host, "self");
        eventually("the group is killed", || !runs(&pid)).await;
        netns::unpin(&host.path("netns/s1")).unwrap();
    });
}

#[test]
fn a_plugin_that_dies_is_told_apart_and_its_children_end() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does(
            "one",
            "ADD",
            r#"sleep 1000 & echo $! >"$here/child"; echo 'bad thing' >&2; kill -SEGV $$; sleep 1000"#,
        );
        let (attachment, error) = attach(&host.open()).await;
        let text = error.to_string();
        assert_eq!(
            text,
            "CNI plugin one was killed by signal 11 during ADD: bad thing"
        );
        let child = pid(&host, "child");
        eventually("what it left behind is killed", || !runs(&child)).await;
        host.open().detach(&attachment).await.unwrap();
    });
}

#[test]
fn what_a_plugin_leaves_behind_holding_its_pipes_does_not_hold_us() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does("one", "ADD", r#"sleep 1000 & echo $! >"$here/child""#);
        let cni = host.open();
        let (_netns, attachment) = host.pod(&cni, "s1").await;
        assert_eq!(attachment.addresses().len(), 1);
        let child = pid(&host, "child");
        assert!(runs(&child), "a plugin that succeeds may leave a helper");
        crate::harness::run("kill", &child);
        cni.detach(&attachment).await.unwrap();
    });
}

#[test]
fn a_flood_is_cut_off_and_a_long_complaint_is_cut_short() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does("one", "ADD", r#"echo $$ >"$here/self"; exec cat /dev/zero"#);
        let (attachment, error) = attach(&host.open()).await;
        assert_eq!(
            error.to_string(),
            "CNI plugin one answered ADD with more than 1048576 bytes and was killed"
        );
        let flood = pid(&host, "self");
        eventually("it is killed", || !runs(&flood)).await;

        host.does(
            "one",
            "ADD",
            r#"head -c 10000000 /dev/zero | tr '\0' x >&2; echo the end >&2; exit 1"#,
        );
        let (_, error) = attach(&host.open()).await;
        let text = error.to_string();
        assert!(
            text.len() < 2000 && text.ends_with("xxthe end"),
            "{}",
            text.len()
        );
        host.open().detach(&attachment).await.unwrap();
    });
}

#[test]
fn a_plugin_that_does_not_read_and_one_that_talks_nonsense_are_survived() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        let deaf = "#!/bin/sh\nexec 0<&-\necho '{\"ips\": [{\"address\": \"10.9.0.2/24\"}]}'\n";
        fs::write(host.path("bin/one"), deaf).unwrap();
        let cni = host.open();
        let (_netns, attachment) = host.pod(&cni, "s1").await;
        cni.detach(&attachment).await.unwrap();

        host.script("one");
        host.does("one", "ADD", "echo nonsense; exit 0");
        let (attachment, error) = attach(&cni).await;
        assert!(matches!(error, PluginError::Answer { .. }), "{error}");
        cni.detach(&attachment).await.unwrap();

        fs::write(host.path("bin/one"), "not a program").unwrap();
        let (attachment, error) = attach(&cni).await;
        assert!(matches!(error, PluginError::Start { .. }), "{error}");
        host.script("one");
        cni.detach(&attachment).await.unwrap();
        host.assert_no_pins();
    });
}

#[test]
fn a_result_without_an_address_is_no_network() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does("one", "ADD", "echo '{}'; exit 0");
        let cni = host.open();
        let mut attachment = cni.plan(spec("s1", Capabilities::default())).await.unwrap();
        let netns = netns::create().unwrap();
        let error = cni
            .attach(&mut attachment, netns.as_fd())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "network scripted gave sandbox s1 no address"
        );
        cni.detach(&attachment).await.unwrap();
    });
}

#[test]
fn a_pods_name_cannot_become_another_argument() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        let mut spec = spec("s1", Capabilities::default());
        spec.pod.name = "x;K8S_POD_NAMESPACE=kube-system".to_owned();
        let error = host.open().plan(spec).await.unwrap_err();
        assert!(matches!(error, PlanError::Argument { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    });
}
