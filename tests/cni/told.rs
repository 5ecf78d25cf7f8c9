//! What plugins are told of a pod, and what a pod gets from what they answer.

use anyhow::{Result, ensure};
use harness::collector::{Caller, Collector, Spans};
use harness::node::Node;
use proto::cri::{
    DnsConfig, NetworkConfig, PodSandboxStatusRequest, PortMapping, Protocol, RunPodSandboxRequest,
    RuntimeConfig, StopPodSandboxRequest, UpdateRuntimeConfigRequest,
};
use serde_json::json;
use tonic::Code;

use crate::host::on_host;

#[test]
fn a_plugin_hears_of_the_pod_and_what_it_asks_for() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let node = host.node().await?;
        let mut config = node.sandbox_config("web-0");
        config.port_mappings = vec![PortMapping {
            protocol: Protocol::Udp.into(),
            container_port: 53,
            host_port: 10_053,
            host_ip: String::new(),
        }];
        config.dns_config = Some(DnsConfig {
            servers: vec!["10.96.0.10".to_owned()],
            searches: vec!["default.svc".to_owned()],
            options: vec!["ndots:5".to_owned()],
        });
        let annotation = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        config.annotations.extend([
            annotation("kubernetes.io/ingress-bandwidth", "10M"),
            annotation("kubernetes.io/egress-bandwidth", "1Gi"),
        ]);
        let sandbox = node.sandbox_of(config).await?;
        let mut told = host.input("ADD")?["runtimeConfig"].clone();
        let cgroup = told["cgroupPath"].take();
        assert!(
            cgroup
                .as_str()
                .is_some_and(|path| path.ends_with(&sandbox.id)),
            "{cgroup}"
        );
        let burst = i32::MAX;
        assert_eq!(
            told,
            json!({
                "portMappings": [{"hostPort": 10_053, "containerPort": 53, "protocol": "udp"}],
                "dns": {"servers": ["10.96.0.10"], "searches": ["default.svc"], "options": ["ndots:5"]},
                "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": burst,
                              "egressRate": 1_073_741_824, "egressBurst": burst},
                "cgroupPath": null,
            })
        );
        let environment = host.wrote("ADD.environment")?;
        let words = format!(
            "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;\
             K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID=uid-of-web-0\n",
            sandbox.id
        );
        assert!(environment.contains(&words), "{environment}");
        assert!(
            !environment.contains("HOME=") && !environment.contains("CARGO"),
            "{environment}"
        );
        host.finish(node).await
    })
}

#[test]
fn name_servers_of_plugins_count_where_the_pod_names_none() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let node = host.node().await?;
        let (_, text) = {
            let sandbox = node.sandbox("silent").await?;
            node.shell(
                &sandbox,
                "look",
                "cat /etc/resolv.conf; grep 10.9.0.2 /etc/hosts; hostname",
            )
            .await?
        };
        assert!(text.contains("nameserver 10.9.0.53\n"), "{text}");
        assert!(text.contains("search of.plugin\n"), "{text}");
        assert!(
            text.contains("silent") && text.ends_with("silent\n"),
            "{text}"
        );

        let mut config = node.sandbox_config("outspoken");
        config.dns_config = Some(DnsConfig {
            servers: vec!["10.96.0.10".to_owned()],
            searches: vec!["default.svc".to_owned()],
            options: Vec::new(),
        });
        let sandbox = node.sandbox_of(config).await?;
        let (_, text) = node.shell(&sandbox, "look", "cat /etc/resolv.conf").await?;
        assert_eq!(text, "search default.svc\nnameserver 10.96.0.10\n");

        // What it leaves out is not to be had elsewhere: neither the host's nor the plugin's.
        let mut config = node.sandbox_config("brief");
        config.dns_config = Some(DnsConfig {
            servers: vec!["10.96.0.10".to_owned()],
            ..DnsConfig::default()
        });
        let sandbox = node.sandbox_of(config).await?;
        let (_, text) = node.shell(&sandbox, "look", "cat /etc/resolv.conf").await?;
        assert_eq!(text, "nameserver 10.96.0.10\n");
        host.finish(node).await
    })
}

#[test]
fn the_nodes_ranges_reach_plugins_also_after_a_restart() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let mut node = host.node().await?;
        let set = async |node: &Node, cidr: &str| {
            let network_config = Some(NetworkConfig {
                pod_cidr: cidr.to_owned(),
            });
            let request = UpdateRuntimeConfigRequest {
                runtime_config: Some(RuntimeConfig { network_config }),
            };
            node.cri
                .runtime
                .clone()
                .update_runtime_config(request)
                .await
        };
        set(&node, "10.77.3.0/24,fd77:3::/64").await?;
        set(&node, "").await?;
        for bad in ["10.77.3.0", "10.1.0.0/24,10.2.0.0/24"] {
            let refused = set(&node, bad).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        }
        let expected = json!([[{"subnet": "10.77.3.0/24"}], [{"subnet": "fd77:3::/64"}]]);
        node.sandbox("one").await?;
        assert_eq!(host.input("ADD")?["runtimeConfig"]["ipRanges"], expected);
        node.restart().await?;
        node.sandbox("two").await?;
        assert_eq!(host.input("ADD")?["runtimeConfig"]["ipRanges"], expected);
        host.finish(node).await
    })
}

#[test]
fn what_cannot_be_told_is_refused_before_a_plugin_runs() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let node = host.node().await?;
        let mut config = node.sandbox_config("fast");
        let key = "kubernetes.io/ingress-bandwidth".to_owned();
        config.annotations.insert(key, "fast".to_owned());
        let refused = node.cri.run_sandbox(&config).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let mut config = node.sandbox_config("x");
        if let Some(metadata) = config.metadata.as_mut() {
            metadata.name = "x;K8S_POD_NAMESPACE=kube-system".to_owned();
        }
        let refused = node.cri.run_sandbox(&config).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(host.calls(), [""; 0]);
        host.finish(node).await
    })
}

#[test]
fn whoever_looks_closely_is_told_whether_the_plugins_miss_anything() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let node = host.node().await?;
        let sandbox = node.sandbox("one").await?;
        let told = |verbose: bool| {
            let mut runtime = node.cri.runtime.clone();
            let request = PodSandboxStatusRequest {
                pod_sandbox_id: sandbox.id.clone(),
                verbose,
            };
            async move {
                let answer = runtime.pod_sandbox_status(request).await?.into_inner();
                anyhow::Ok(answer.info.get("network").cloned())
            }
        };
        host.calls();
        assert_eq!(told(false).await?, None);
        assert!(
            host.calls().is_empty(),
            "a kubelet that lists runs no plugin"
        );
        let told_whole = told(true).await?.unwrap_or_default();
        assert!(
            told_whole.contains("as the plugins made it"),
            "{told_whole}"
        );
        assert_eq!(host.calls(), [format!("CHECK {}", sandbox.id)]);
        host.does(
            "CHECK",
            r#"echo '{"cniVersion": "1.0.0", "code": 100, "msg": "eth0 is gone"}'; exit 1"#,
        )?;
        let told_missing = told(true).await?.unwrap_or_default();
        assert!(told_missing.contains("eth0 is gone"), "{told_missing}");
        host.finish(node).await
    })
}

#[test]
fn a_call_is_traced_down_to_each_plugin() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        host.configure(
            r#"{"cniVersion": "1.0.0", "name": "twice", "plugins": [{"type": "script"}, {"type": "script"}]}"#,
        )?;
        let collector = Collector::start()?;
        let node = Node::start_with(collector.options(host.options("cni"))).await?;
        let caller = Caller {
            trace: 0x1234,
            span: 0x56,
            sampled: true,
        };
        let mut runtime = node.cri.runtime.clone();
        let run = RunPodSandboxRequest {
            config: Some(node.sandbox_config("pod")),
            runtime_handler: String::new(),
        };
        let sandbox = runtime.run_pod_sandbox(caller.request(run)?).await?;
        let stop = StopPodSandboxRequest {
            pod_sandbox_id: sandbox.into_inner().pod_sandbox_id,
        };
        runtime.stop_pod_sandbox(caller.request(stop)?).await?;
        let look = |spans: &Spans| {
            let (spans, caller) = (spans.of_trace(caller.trace), caller.span.to_be_bytes());
            let run = ["runtime.v1.RuntimeService/RunPodSandbox", "network"];
            let network = spans.path(&caller, &run)?;
            let added = spans.below(&network.span_id, "ADD script").len();
            let stop = ["runtime.v1.RuntimeService/StopPodSandbox", "network"];
            let network = spans.path(&caller, &stop)?;
            let deleted = spans.below(&network.span_id, "DEL script").len();
            ensure!((added, deleted) == (2, 2), "{added} and {deleted}");
            Ok(())
        };
        collector.shows(look).await?;
        host.finish(node).await
    })
}
