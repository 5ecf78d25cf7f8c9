//! Where spans go: the file, and OpenTelemetry's variables over it.

use std::time::Duration;

use agent_telemetry::TraceConfig;

use super::raw;

/// Variables that name the collector, the first one first.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// Variables that say how long it may take.
const TIMEOUTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];

/// Variables that say how it is spoken to.
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Samplers that a variable may name, and whether they take a share.
const SAMPLERS: [(&str, bool); 6] = [
    ("always_on", false),
    ("always_off", false),
    ("traceidratio", true),
    ("parentbased_always_on", false),
    ("parentbased_always_off", false),
    ("parentbased_traceidratio", true),
];

/// Returns where spans go; `None`: nowhere. `variable` reads the environment.
pub(super) fn traces(
    raw: &raw::Traces,
    variable: impl Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<TraceConfig> {
    let set = |name: &&'static str| -> Option<(&'static str, String)> {
        let value = variable(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    };
    let first = |names: [&'static str; 2]| names.iter().find_map(set);
    check(raw, problems);
    let named = first(ENDPOINTS);
    let in_file = (!raw.endpoint.is_empty()).then_some(&raw.endpoint);
    let (name, endpoint) = match (&named, in_file) {
        (Some((name, endpoint)), _) => (*name, endpoint),
        (None, Some(endpoint)) => ("traces.endpoint", endpoint),
        (None, None) => return None,
    };
    if !endpoint.starts_with("http://") {
        problems.push(format!("{name}: {endpoint:?} does not start with http://"));
    }
    if let Some((name, protocol)) = first(PROTOCOLS).filter(|(_, value)| value != "grpc") {
        problems.push(format!("{name}: {protocol:?} is not grpc"));
    }
    let mut timeout = Duration::from_secs(raw.timeout_seconds);
    if let Some((name, value)) = first(TIMEOUTS) {
        match value.parse::<u32>() {
            Ok(milliseconds) if milliseconds > 0 => {
                timeout = Duration::from_millis(milliseconds.into());
            }
            _ => problems.push(format!("{name}: {value:?} is no number of milliseconds")),
        }
    }
    let sampler = set(&SAMPLER);
    if let Some((_, sampler)) = &sampler {
        check_sampler(sampler, variable(SAMPLER_ARGUMENT), problems);
    }
    Some(TraceConfig {
        endpoint: in_file.filter(|_| named.is_none()).cloned(),
        sample_ratio: sampler.is_none().then_some(raw.sample_ratio),
        timeout,
    })
}

fn check(raw: &raw::Traces, problems: &mut Vec<String>) {
    if !(0.0..=1.0).contains(&raw.sample_ratio) {
        problems.push(format!(
            "traces.sample_ratio: {} is not from 0 to 1",
            raw.sample_ratio
        ));
    }
    if raw.timeout_seconds == 0 {
        problems.push("traces.timeout_seconds: must be at least 1".to_owned());
    }
}

/// Refuses what the exporter would replace by another sampler without a word.
fn check_sampler(sampler: &str, argument: Option<String>, problems: &mut Vec<String>) {
    let known = SAMPLERS.iter().find(|(name, _)| *name == sampler);
    let Some((_, takes_share)) = known else {
        let names = SAMPLERS.map(|(name, _)| name).join(", ");
        problems.push(format!("{SAMPLER}: {sampler:?} is none of {names}"));
        return;
    };
    let argument = argument.unwrap_or_default();
    let share = argument.parse::<f64>();
    if *takes_share && !share.is_ok_and(|share| (0.0..=1.0).contains(&share)) {
        problems.push(format!(
            "{SAMPLER_ARGUMENT}: {argument:?} is not from 0 to 1"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str, variables: &[(&str, &str)]) -> Result<Option<TraceConfig>, Vec<String>> {
        let raw = raw::Traces {
            endpoint: endpoint.to_owned(),
            ..raw::Traces::default()
        };
        let variable = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut problems = Vec::new();
        let config = traces(&raw, variable, &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    #[test]
    fn without_a_collector_there_are_none() {
        assert_eq!(of("", &[]), Ok(None));
        assert_eq!(of("", &[(ENDPOINTS[1], "")]), Ok(None));
        // What is about a collector says nothing where there is none.
        assert_eq!(of("", &[(SAMPLER, "mine")]), Ok(None));
    }

    #[test]
    fn the_file_counts_where_no_variable_is_set() {
        let config = of("http://127.0.0.1:4317", &[]).unwrap().unwrap();
        assert_eq!(config.endpoint.as_deref(), Some("http://127.0.0.1:4317"));
        assert_eq!(config.sample_ratio, Some(1.0));
        assert_eq!(config.timeout, Duration::from_secs(10));
    }

    #[test]
    fn variables_override_the_file() {
        let variables = [
            (ENDPOINTS[1], "http://collector:4317"),
            (TIMEOUTS[1], "500"),
            (PROTOCOLS[1], "grpc"),
            (SAMPLER, "parentbased_traceidratio"),
            (SAMPLER_ARGUMENT, "0.25"),
        ];
        for endpoint in ["", "http://127.0.0.1:4317"] {
            let left_to_the_exporter = TraceConfig {
                endpoint: None,
                sample_ratio: None,
                timeout: Duration::from_millis(500),
            };
            assert_eq!(of(endpoint, &variables), Ok(Some(left_to_the_exporter)));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (variables, name) in [
            ([(ENDPOINTS[0], "https://a:4317"), ("", "")], ENDPOINTS[0]),
            ([(PROTOCOLS[0], "http/json"), ("", "")], PROTOCOLS[0]),
            ([(TIMEOUTS[0], "10s"), ("", "")], TIMEOUTS[0]),
            ([(SAMPLER, "jaeger_remote"), ("", "")], SAMPLER),
            ([(SAMPLER, "traceidratio"), ("", "")], SAMPLER_ARGUMENT),
            (
                [(SAMPLER, "traceidratio"), (SAMPLER_ARGUMENT, "2")],
                SAMPLER_ARGUMENT,
            ),
        ] {
            let problems = of("http://127.0.0.1:4317", &variables).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(
                problems[0].starts_with(&format!("{name}: ")),
                "{problems:?}"
            );
        }
        let problems = of("127.0.0.1:4317", &[]).unwrap_err();
        assert!(problems[0].starts_with("traces.endpoint: "), "{problems:?}");
        for (sample_ratio, timeout_seconds) in [(1.5, 10), (f64::NAN, 10), (1.0, 0)] {
            let raw = raw::Traces {
                sample_ratio,
                timeout_seconds,
                ..raw::Traces::default()
            };
            let mut problems = Vec::new();
            traces(&raw, |_| None, &mut problems);
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
    }
}
