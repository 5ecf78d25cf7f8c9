//! What the agent's own process uses, under the names that every exporter has.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    Collector, ConstCounter, ConstGauge, DescriptorEncoder, EncodeMetric, MetricType, Registry,
};

/// Clock ticks in a second, as procfs counts: the same on every Linux that is built.
const TICKS: f64 = 100.0;

/// Adds the metrics of the process.
pub fn register(registry: &mut Registry) {
    // Worked out once: with every reading of the clocks it would move a little.
    let started_at = Reading::take().started_at;
    registry.register_collector(Box::new(Process { started_at }));
}

#[derive(Debug)]
struct Process {
    started_at: f64,
}

/// What procfs tells of this process; 0 where it does not.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Reading {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    open_files: f64,
    max_files: f64,
    started_at: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = Reading::take();
        let cpu = ConstCounter::new(now.cpu_seconds);
        let help = "Seconds of processor time that the agent used";
        let counter = MetricType::Counter;
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, counter)?)?;
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory of the agent, in bytes",
                now.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space of the agent, in bytes",
                now.virtual_bytes,
            ),
            ("process_threads", "Threads of the agent", now.threads),
            (
                "process_open_fds",
                "Descriptors that the agent has open",
                now.open_files,
            ),
            (
                "process_max_fds",
                "Descriptors that the agent may have",
                now.max_files,
            ),
            (
                "process_start_time_seconds",
                "When the agent was started, in seconds since the epoch",
                self.started_at,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = MetricType::Gauge;
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, gauge)?)?;
        }
        Ok(())
    }
}

impl Reading {
    fn take() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let mut reading = Self::of(
            &read("stat").unwrap_or_default(),
            &read("limits").unwrap_or_default(),
            &uptime,
        );
        // One of them is the directory that was just read.
        reading.open_files = f64::from(u32::try_from(open.saturating_sub(1)).unwrap_or(u32::MAX));
        reading
    }

    /// Puts the files together; times are turned from those since the boot to those of the calendar.
    fn of(stat: &str, limits: &str, uptime: &str) -> Self {
        // The name, in brackets, may have spaces and brackets itself.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = fields.split(' ').collect();
        let field = |number: usize| -> f64 {
            // Numbered from 1, as the manual does; the first two are the id and the name.
            let text = fields.get(number - 3).copied().unwrap_or_default();
            text.trim().parse().unwrap_or_default()
        };
        let max = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let max = max.and_then(|rest| rest.split_whitespace().next());
        let since_boot = |text: &str| text.split(' ').next().and_then(|word| word.parse().ok());
        let uptime: f64 = since_boot(uptime).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64();
        Self {
            cpu_seconds: (field(14) + field(15)) / TICKS,
            threads: field(20),
            started_at: now - uptime + field(22) / TICKS,
            virtual_bytes: field(23),
            resident_bytes: field(24) * page(),
            open_files: 0.0,
            max_files: max.and_then(|text| text.parse().ok()).unwrap_or_default(),
        }
    }
}

/// Returns the size of a page in bytes.
fn page() -> f64 {
    f64::from(u32::try_from(rustix::param::page_size()).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 400 1000000 50 18446744073709551615";
        let limits = "Max cpu time unlimited unlimited seconds\nMax open files            1024                 524288               files\n";
        let reading = Reading::of(stat, limits, "100.00 50.00\n");
        assert!((reading.cpu_seconds - 4.0).abs() < 1e-9);
        assert!((reading.threads - 9.0).abs() < 1e-9);
        assert!((reading.resident_bytes - 50.0 * page()).abs() < 1e-9);
        assert!((reading.max_files - 1024.0).abs() < 1e-9);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!((now.as_secs_f64() - 96.0 - reading.started_at).abs() < 5.0);
    }

    #[test]
    fn this_process_is_told_of() {
        let reading = Reading::take();
        assert!(
            reading.resident_bytes > 0.0 && reading.open_files >= 3.0,
            "{reading:?}"
        );
    }

    #[test]
    fn the_start_does_not_move() {
        let mut registry = Registry::default();
        register(&mut registry);
        let read = || {
            let text = crate::metrics::text(&registry).unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("process_start_time_seconds "));
            line.unwrap().to_owned()
        };
        let first = read();
        assert!((0..50).all(|_| read() == first), "{first}");
    }
}
