//! Ranges that the cluster gives.

use std::sync::Arc;

use agent_network::{AttachSpec, Source};

use crate::harness::{on_host, run, spec};

/// Links of the host: their listing does not fit one message, so that it is still under way when
/// the next one begins.
const LINKS: usize = 64;

#[test]
fn ranges_that_are_told_many_times_at_once_are_taken_each_time() {
    on_host(|host| async move {
        for index in 0..LINKS {
            run("ip", &format!("link add other{index} type bridge"));
        }
        let network = Arc::new(host.open());
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let network = Arc::clone(&network);
                let ranges = ["10.77.0.0/24".parse().unwrap()];
                tokio::spawn(async move { network.set_ranges(&ranges).await })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        let of_cluster = AttachSpec {
            source: Source::Cluster,
            ..spec("a", &[])
        };
        let pod = network.reserve(&of_cluster).unwrap();
        assert_eq!(pod.addresses()[0].to_string(), "10.77.0.2");
    });
}
