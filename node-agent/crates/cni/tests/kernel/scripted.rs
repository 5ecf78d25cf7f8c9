//! What plugins are told, in which order, and what becomes of what they answer.

use std::fs;
use std::os::fd::AsFd;

use agent_cni::{Attachment, Capabilities, SpecVersion};
use agent_sys::netns;
use agent_types::{Classify, ErrorKind};
use serde_json::{Value, json};

use crate::harness::{Host, on_host, spec};

fn input(host: &Host, plugin: &str, command: &str) -> Value {
    serde_json::from_str(&host.wrote(plugin, command, "input")).unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[test]
fn each_plugin_hears_what_the_one_before_made_and_del_goes_backwards() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one", "two"]);
        host.does(
            "two",
            "ADD",
            r#"echo '{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.9.0.7/24"}]}'; exit 0"#,
        );
        let cni = host.open();
        let (_netns, attachment) = host.pod(&cni, "s1").await;
        assert_eq!(
            attachment.addresses(),
            ["10.9.0.7".parse::<std::net::IpAddr>().unwrap()]
        );
        assert!(input(&host, "one", "ADD").get("prevResult").is_none());
        let first = json!({"cniVersion": "1.0.0", "dns": {}, "ips": [{"address": "10.9.0.2/24"}]});
        assert_eq!(input(&host, "two", "ADD")["prevResult"], first);

        let record = serde_json::to_string(&attachment).unwrap();
        let attachment: Attachment = serde_json::from_str(&record).unwrap();
        host.open().detach(&attachment).await.unwrap();
        assert_eq!(host.calls(), ["one ADD", "two ADD", "two DEL", "one DEL"]);
        let whole = json!({"cniVersion": "1.0.0", "dns": {}, "ips": [{"address": "10.9.0.7/24"}]});
        for plugin in ["one", "two"] {
            assert_eq!(input(&host, plugin, "DEL")["prevResult"], whole);
        }
    });
}

#[test]
fn a_plugin_sees_a_clean_environment_and_nothing_of_ours() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        host.does("one", "ADD", r#"ls -l /proc/self/fd >"$here/descriptors"; cat /proc/self/cgroup >"$here/cgroup"; pwd >"$here/pwd""#);
        let cni = host.open();
        let (_netns, attachment) = host.pod(&cni, "s1").await;
        let environment = host.wrote("one", "ADD", "environment");
        let mut keys: Vec<&str> = environment
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            // The shell's own.
            .filter(|key| !["PWD", "OLDPWD", "SHLVL", "_"].contains(key))
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "CNI_ARGS",
                "CNI_COMMAND",
                "CNI_CONTAINERID",
                "CNI_IFNAME",
                "CNI_NETNS",
                "CNI_PATH",
                "PATH"
            ]
        );
        assert!(environment.contains("K8S_POD_NAME=pod-s1;"));
        let pin = attachment.netns.display().to_string();
        assert!(environment.contains(&format!("CNI_NETNS={pin}\n")));
        let descriptors = fs::read_to_string(host.path("bin/descriptors")).unwrap();
        // 0, 1, 2, and the directory that ls itself has open.
        assert_eq!(descriptors.matches(" -> ").count(), 4, "{descriptors}");
        assert_eq!(fs::read_to_string(host.path("bin/pwd")).unwrap(), "/\n");
        let ours = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert_eq!(fs::read_to_string(host.path("bin/cgroup")).unwrap(), ours);

        // Without a namespace there is none to name.
        netns::unpin(&attachment.netns).unwrap();
        cni.detach(&attachment).await.unwrap();
        assert!(
            !host
                .wrote("one", "DEL", "environment")
                .contains("CNI_NETNS")
        );
    });
}

#[test]
fn what_a_plugin_says_went_wrong_is_told_and_every_other_is_still_asked() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one", "two", "three"]);
        host.does(
            "two",
            "ADD",
            r#"echo '{"code": 11, "msg": "the pool is being filled"}'; exit 1"#,
        );
        host.does("two", "DEL", r#"echo 'no idea' >&2; exit 3"#);
        let cni = host.open();
        let mut attachment = cni.plan(spec("s1", Capabilities::default())).await.unwrap();
        let netns = netns::create().unwrap();
        let error = cni
            .attach(&mut attachment, netns.as_fd())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(
            chain(&error),
            "sandbox s1 could not be joined to network scripted: \
             CNI plugin two refused ADD (code 11): the pool is being filled"
        );
        assert!(attachment.addresses().is_empty());
        assert_eq!(host.calls(), ["one ADD", "two ADD"]);

        let errors = cni.detach(&attachment).await.unwrap_err();
        assert_eq!(
            chain(&errors),
            "sandbox s1 could not be released from network scripted: \
             CNI plugin two ended with code 3 during DEL: no idea"
        );
        assert_eq!(host.calls(), ["three DEL", "two DEL", "one DEL"]);
        assert!(
            netns::is_pinned(&attachment.netns),
            "the next attempt finds it"
        );
        assert!(input(&host, "one", "DEL").get("prevResult").is_none());

        host.does("two", "DEL", "");
        cni.detach(&attachment).await.unwrap();
        host.assert_no_pins();
    });
}

#[test]
fn status_and_gc_are_run_from_1_1_0_on() {
    on_host(async |host| {
        host.configure_scripts("1.0.0", &["one"]);
        let cni = host.open();
        let (_netns, attachment) = host.pod(&cni, "s1").await;
        host.calls();
        assert_eq!(cni.status().await.unwrap().version, SpecVersion::V1_0_0);
        assert!(cni.gc(&[]).await.is_empty());
        assert_eq!(host.calls(), ["one VERSION"]);

        host.configure_scripts("1.1.0", &["one", "two"]);
        cni.status().await.unwrap();
        assert_eq!(
            host.calls(),
            ["one VERSION", "two VERSION", "one STATUS", "two STATUS"]
        );
        cni.status().await.unwrap();
        assert_eq!(
            host.calls(),
            ["one STATUS", "two STATUS"],
            "versions are known"
        );

        host.does("one", "GC", "exit 1");
        let errors = cni.gc(std::slice::from_ref(&attachment)).await;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(host.calls(), ["one GC", "two GC"]);
        assert_eq!(
            input(&host, "two", "GC")["cni.dev/valid-attachments"],
            json!([{"containerID": "s1", "ifname": "eth0"}])
        );
        cni.detach(&attachment).await.unwrap();
    });
}

#[test]
fn readiness_follows_directory_programs_and_plugins() {
    on_host(async |host| {
        let cni = host.open();
        assert!(!cni.has_configuration());
        let why = async |cni: &agent_cni::Cni| chain(&cni.status().await.unwrap_err());
        assert!(why(&cni).await.starts_with("no CNI configuration in "));

        host.configure("{");
        assert!(cni.has_configuration());
        assert!(
            why(&cni)
                .await
                .ends_with("it is not JSON: EOF while parsing an object at line 1 column 1")
        );

        host.configure_scripts("1.1.0", &["one"]);
        cni.status().await.unwrap();
        host.does(
            "one",
            "STATUS",
            r#"echo '{"code": 50, "msg": "no lease"}'; exit 1"#,
        );
        assert_eq!(
            why(&cni).await,
            "network scripted is not ready: CNI plugin one refused STATUS (code 50): no lease"
        );
        host.does("one", "STATUS", "");
        cni.status().await.unwrap();

        // A new program is asked again.
        let path = host.path("bin/one");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, old.replace(r#""1.0.0", "1.1.0""#, r#""1.0.0""#)).unwrap();
        assert_eq!(
            why(&cni).await,
            "CNI plugin one does not know version 1.1.0, which network scripted is written in"
        );
        fs::remove_file(&path).unwrap();
        assert!(
            why(&cni)
                .await
                .contains("CNI plugin one is not installed in ")
        );
    });
}

#[test]
fn gc_and_check_are_left_out_where_the_configuration_says_so() {
    on_host(async |host| {
        host.script("one");
        host.configure(
            r#"{"cniVersion": "1.1.0", "name": "quiet", "disableCheck": true, "disableGC": true,
                "plugins": [{"type": "one"}]}"#,
        );
        let cni = host.open();
        let (_netns, attachment) = host.pod(&cni, "s1").await;
        cni.check(&attachment).await.unwrap();
        assert!(cni.gc(&[]).await.is_empty());
        assert_eq!(host.calls(), ["one ADD"]);
        cni.detach(&attachment).await.unwrap();
    });
}
