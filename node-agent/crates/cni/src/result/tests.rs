use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn newest() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500},
            {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/s1", "mtu": 1500},
        ],
        "ips": [
            {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1},
            {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 1},
            {"address": "192.0.2.1/32", "interface": 0},
        ],
        "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}, {"dst": "::/0", "gw": "fd00::1"}],
        "dns": {"nameservers": ["10.0.0.10"], "search": ["cluster.local"]},
    })
}

fn check(version: SpecVersion, expected: &Expect) {
    let result = NetworkResult::parse(&newest(), SpecVersion::V0_1_0).unwrap();
    let mut rendered = result.render(version);
    // Another crate of the same build may have turned on serde_json's order of insertion.
    rendered.sort_all_objects();
    expected.assert_eq(&rendered.to_string());
}

#[test]
fn a_result_is_written_as_each_version_has_it() {
    check(
        SpecVersion::V1_0_0,
        &expect![[
            r#"{"cniVersion":"1.0.0","dns":{"nameservers":["10.0.0.10"],"search":["cluster.local"]},"interfaces":[{"mac":"02:00:00:00:00:01","name":"br0"},{"mac":"02:00:00:00:00:02","name":"eth0","sandbox":"/run/netns/s1"}],"ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1","interface":1},{"address":"fd00::5/64","gateway":"fd00::1","interface":1},{"address":"192.0.2.1/32","interface":0}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1"}]}"#
        ]],
    );
    check(
        SpecVersion::V0_3_1,
        &expect![[
            r#"{"cniVersion":"0.3.1","dns":{"nameservers":["10.0.0.10"],"search":["cluster.local"]},"interfaces":[{"mac":"02:00:00:00:00:01","name":"br0"},{"mac":"02:00:00:00:00:02","name":"eth0","sandbox":"/run/netns/s1"}],"ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1","interface":1,"version":"4"},{"address":"fd00::5/64","gateway":"fd00::1","interface":1,"version":"6"},{"address":"192.0.2.1/32","interface":0,"version":"4"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1"}]}"#
        ]],
    );
    check(
        SpecVersion::V0_2_0,
        &expect![[
            r#"{"cniVersion":"0.2.0","dns":{"nameservers":["10.0.0.10"],"search":["cluster.local"]},"ip4":{"gateway":"10.1.0.1","ip":"10.1.0.5/24","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"gateway":"fd00::1","ip":"fd00::5/64","routes":[{"dst":"::/0","gw":"fd00::1"}]}}"#
        ]],
    );
}

#[test]
fn the_sandboxes_addresses_are_those_of_its_interface() {
    let result = NetworkResult::parse(&newest(), SpecVersion::V1_1_0).unwrap();
    let addresses: Vec<String> = result
        .addresses_of("eth0")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(addresses, ["10.1.0.5", "fd00::5"]);
    assert!(result.addresses_of("br0").is_empty(), "it is the host's");
    let bare = json!({"ips": [{"address": "10.1.0.6/24"}]});
    let bare = NetworkResult::parse(&bare, SpecVersion::V1_0_0).unwrap();
    assert_eq!(bare.addresses_of("eth0").len(), 1);
}

#[test]
fn the_oldest_form_is_read() {
    let answer = json!({
        "ip4": {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
        "ip6": {"ip": "fd00::5/64"},
        "dns": {"domain": "example.org"},
        "ips": null,
    });
    let result = NetworkResult::parse(&answer, SpecVersion::V0_2_0).unwrap();
    assert_eq!(result.addresses_of("eth0").len(), 2);
    assert_eq!(result.routes.len(), 1);
    assert_eq!(result.dns.domain, "example.org");
}

#[test]
fn an_answer_in_the_networks_version_is_kept_as_it_is() {
    let mut answer = newest();
    answer["ours"] = json!({"kept": true});
    let kept = in_version(answer.clone(), SpecVersion::V1_1_0).unwrap();
    assert_eq!(kept, answer);
    let older = in_version(answer, SpecVersion::V0_4_0).unwrap();
    assert_eq!(older["cniVersion"], "0.4.0");
    assert_eq!(older["ips"][1]["version"], "6");
    let silent = in_version(json!({}), SpecVersion::V0_4_0).unwrap();
    assert_eq!(silent["cniVersion"], "0.4.0");
}

#[test]
fn what_is_no_result_is_refused() {
    for (answer, why) in [
        (json!([]), "it is not an object"),
        (json!({"cniVersion": "7.0.0"}), "\"7.0.0\" is not a version"),
        (
            json!({"ips": [{"address": "10.1.0.5"}]}),
            "it is not a result",
        ),
        (
            json!({"ips": [{"address": "10.1.0.5/24", "interface": -1}]}),
            "it is not a result",
        ),
        (
            json!({"ips": [{"address": "10.1.0.5/24", "interface": 2}]}),
            "address 10.1.0.5/24 belongs to interface 2, and there are 0",
        ),
        (json!({"interfaces": [{"mac": "x"}]}), "it is not a result"),
    ] {
        let error = NetworkResult::parse(&answer, SpecVersion::V1_0_0).unwrap_err();
        assert!(error.to_string().starts_with(why), "{answer}: {error}");
    }
}

proptest! {
    #[test]
    fn every_version_reads_what_it_writes(
        hosts in proptest::collection::vec(0_u32.., 0..4),
        version in 2..SpecVersion::ALL.len(),
    ) {
        let ips = hosts.iter().map(|host| Address {
            address: IpNet::new(IpAddr::V4((*host).into()), 24).unwrap(),
            gateway: None,
            interface: None,
        });
        let result = NetworkResult { ips: ips.collect(), ..NetworkResult::default() };
        let version = SpecVersion::ALL[version];
        let written = result.render(version);
        prop_assert_eq!(NetworkResult::parse(&written, SpecVersion::V0_1_0).unwrap(), result);
    }
}
