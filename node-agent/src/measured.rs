//! What the agent measures of itself, put together, and where it is read.

use std::sync::Arc;

use agent_api::Calls;
use agent_core::metrics::{Held, Phases};
use agent_core::node::Node;
use agent_telemetry::metrics::{
    BindError, Endpoint, EndpointConfig, Family, Gauge, Registry, register_process,
};

/// Everything that is measured.
#[derive(Debug)]
pub(crate) struct Measured {
    registry: Registry,
    phases: Phases,
    calls: Arc<Calls>,
    endpoint: Option<Endpoint>,
}

impl Measured {
    /// Makes the counters, and listens where they are to be read.
    pub(crate) async fn bind(config: Option<&EndpointConfig>) -> Result<Self, BindError> {
        let endpoint = match config {
            Some(config) => Some(Endpoint::bind(config).await?),
            None => None,
        };
        let mut registry = Registry::default();
        let phases = Phases::register(&mut registry);
        let calls = Calls::register(&mut registry);
        register_process(&mut registry);
        register_build(&mut registry);
        Ok(Self {
            registry,
            phases,
            calls,
            endpoint,
        })
    }

    pub(crate) fn phases(&self) -> Phases {
        self.phases.clone()
    }

    pub(crate) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// Serves what is measured, and what `node` holds; returns at once where nobody is to read it.
    pub(crate) async fn serve(mut self, node: Node) {
        Held::register(Some(node), &mut self.registry);
        if let Some(endpoint) = self.endpoint {
            tracing::info!(address = %endpoint.address(), "metrics served");
            endpoint.serve(self.registry).await;
        }
    }
}

/// Tells which version runs.
fn register_build(registry: &mut Registry) {
    let build = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    build
        .get_or_create(&[("version", env!("CARGO_PKG_VERSION"))])
        .set(1);
    registry.register("node_agent_build", "Version of the agent", build);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// Returns the page that lists every metric.
    fn page(text: &str) -> String {
        let mut page = String::from(
            "# Metrics of node-agent\n\n\
             Served at `/metrics` where `[metrics] listen` says. This page is written by a test: \
             `UPDATE_EXPECT=1 cargo test -p node-agent metrics`.\n\n\
             | metric | kind | labels | what it tells |\n|---|---|---|---|\n",
        );
        let mut help = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').map_or("", |(_, help)| help);
            } else if let Some((name, kind)) = line
                .strip_prefix("# TYPE ")
                .and_then(|rest| rest.split_once(' '))
            {
                let total = if kind == "counter" { "_total" } else { "" };
                let labels = labels(text, &format!("{name}{total}"), kind);
                let help = help.trim_end_matches('.');
                let _ = writeln!(page, "| `{name}{total}` | {kind} | {labels} | {help} |");
            }
        }
        page
    }

    fn labels(text: &str, name: &str, kind: &str) -> String {
        let sample = match kind {
            "histogram" => format!("{name}_count{{"),
            _ => format!("{name}{{"),
        };
        let labels = text.lines().find_map(|line| line.strip_prefix(&sample));
        let labels = labels.and_then(|rest| rest.split_once('}'));
        let keys = labels.map_or("", |(labels, _)| labels).split("\",");
        let keys: Vec<_> = keys
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, _)| format!("`{key}`"))
            .collect();
        keys.join(", ")
    }

    #[tokio::test]
    async fn the_list_of_metrics_is_current() {
        let mut measured = Measured::bind(None).await.unwrap();
        Held::register(None, &mut measured.registry);
        let text = agent_telemetry::metrics::text(&measured.registry).unwrap();
        expect_test::expect_file!["../docs/metrics.md"].assert_eq(&page(&text));
    }
}
