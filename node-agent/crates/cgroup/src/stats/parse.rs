//! From the texts of a cgroup's files to numbers. Pure.

use std::ops::Range;

use super::{CpuStats, DeviceIo, IoStats, MemoryStats, Pressure, Stall};
use crate::file;
use crate::limits::signed;

/// What the files of a cgroup said, one after the other in one piece.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    files: Vec<(&'static str, Range<usize>)>,
}

impl Texts {
    /// Begins a file and returns what [`Texts::end`] wants.
    pub(super) fn begin(&mut self, name: &'static str) -> (&'static str, usize) {
        (name, self.bytes.len())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn end(&mut self, (name, start): (&'static str, usize)) {
        self.files.push((name, start..self.bytes.len()));
    }

    /// Returns a file's text; one that is not there is empty.
    fn text(&self, name: &str) -> &str {
        let file = self.files.iter().find(|(file, _)| *file == name);
        let bytes = file.and_then(|(_, range)| self.bytes.get(range.clone()));
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// Returns the only number of a file; `max`, or no file, is `None`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).trim().parse().ok()
    }

    pub(super) fn lines(&self, name: &str) -> u64 {
        let lines = self.text(name).lines().count();
        u64::try_from(lines).unwrap_or(u64::MAX)
    }

    fn pressure(&self, name: &str) -> Option<Pressure> {
        let mut found = None;
        for line in self.text(name).lines() {
            let found = found.get_or_insert_with(Pressure::default);
            match line.split_once(' ') {
                Some(("some", rest)) => found.some = stall(rest),
                Some(("full", rest)) => found.full = stall(rest),
                _ => {}
            }
        }
        found
    }
}

/// Reads `avg10=0.00 avg60=0.00 avg300=0.00 total=0`; the total is in microseconds.
fn stall(text: &str) -> Stall {
    let mut stall = Stall::default();
    for (key, value) in text.split(' ').filter_map(|word| word.split_once('=')) {
        let share = || value.parse().unwrap_or_default();
        match key {
            "avg10" => stall.avg10 = share(),
            "avg60" => stall.avg60 = share(),
            "avg300" => stall.avg300 = share(),
            "total" => {
                stall.total_ns = value.parse::<u64>().unwrap_or(0).saturating_mul(1_000);
            }
            _ => {}
        }
    }
    stall
}

/// Puts v1's files together. `total_` values include the levels below, as v2's do.
pub(super) fn v1(texts: &Texts) -> (CpuStats, MemoryStats, IoStats) {
    let throttling = texts.text("cpu.stat");
    let count = |key| file::value_of(throttling, key).unwrap_or(0);
    let usage_ns = texts.number("cpuacct.usage").unwrap_or(0);
    let user_ns = texts.number("cpuacct.usage_user").unwrap_or(0);
    let cpu = CpuStats {
        usage_ns,
        user_ns: user_ns.min(usage_ns),
        system_ns: usage_ns.saturating_sub(user_ns),
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled_ns: count("throttled_time"),
        pressure: None,
    };
    (cpu, memory_of_v1(texts), io_of_v1(texts))
}

fn memory_of_v1(texts: &Texts) -> MemoryStats {
    let stat = texts.text("memory.stat");
    let count = |key| file::value_of(stat, key).unwrap_or(0);
    let limit = |key| u64::try_from(signed(file::value_of(stat, key))).ok();
    let usage = texts.number("memory.usage_in_bytes").unwrap_or(0);
    let memory = limit("hierarchical_memory_limit");
    let with_swap = limit("hierarchical_memsw_limit");
    MemoryStats {
        usage,
        working_set: usage.saturating_sub(count("total_inactive_file")),
        rss: count("total_rss"),
        cache: count("total_cache"),
        active_file: count("total_active_file"),
        inactive_file: count("total_inactive_file"),
        mapped_file: count("total_mapped_file"),
        kernel: texts.number("memory.kmem.usage_in_bytes").unwrap_or(0),
        max_usage: texts.number("memory.max_usage_in_bytes"),
        failures: texts.number("memory.failcnt").unwrap_or(0),
        page_faults: count("total_pgfault"),
        major_page_faults: count("total_pgmajfault"),
        limit: memory,
        swap_usage: count("total_swap"),
        swap_limit: with_swap
            .zip(memory)
            .map(|(both, memory)| both.saturating_sub(memory)),
        oom_kills: file::value_of(texts.text("memory.oom_control"), "oom_kill").unwrap_or(0),
        pressure: None,
    }
}

/// Reads lines of `8:0 Read 4096`; the last line is a sum and names no device.
fn io_of_v1(texts: &Texts) -> IoStats {
    let mut devices = Vec::new();
    let bytes = texts.text("blkio.throttle.io_service_bytes_recursive");
    let counts = texts.text("blkio.throttle.io_serviced_recursive");
    for (text, what) in [(bytes, "bytes"), (counts, "counts")] {
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(device), Some(kind), Some(value)) =
                (words.next().and_then(numbers), words.next(), words.next())
            else {
                continue;
            };
            let value = value.parse().unwrap_or(0);
            let io = entry(&mut devices, device);
            match (what, kind) {
                ("bytes", "Read") => io.read_bytes = value,
                ("bytes", "Write") => io.write_bytes = value,
                ("counts", "Read") => io.reads = value,
                ("counts", "Write") => io.writes = value,
                _ => {}
            }
        }
    }
    devices.retain(is_used);
    IoStats {
        devices,
        pressure: None,
    }
}

/// Reads `8:0`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn entry(devices: &mut Vec<DeviceIo>, (major, minor): (u32, u32)) -> &mut DeviceIo {
    let known = |io: &DeviceIo| (io.major, io.minor) == (major, minor);
    let at = devices.iter().position(known).unwrap_or_else(|| {
        devices.push(DeviceIo {
            major,
            minor,
            ..DeviceIo::default()
        });
        devices.len() - 1
    });
    &mut devices[at]
}

fn is_used(io: &DeviceIo) -> bool {
    io.read_bytes | io.write_bytes | io.reads | io.writes != 0
}

/// Puts v2's files together.
pub(super) fn v2(texts: &Texts) -> (CpuStats, MemoryStats, IoStats) {
    let stat = texts.text("cpu.stat");
    let count = |key| file::value_of(stat, key).unwrap_or(0);
    let cpu = CpuStats {
        usage_ns: count("usage_usec").saturating_mul(1_000),
        user_ns: count("user_usec").saturating_mul(1_000),
        system_ns: count("system_usec").saturating_mul(1_000),
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled_ns: count("throttled_usec").saturating_mul(1_000),
        pressure: texts.pressure("cpu.pressure"),
    };
    (cpu, memory_of_v2(texts), io_of_v2(texts))
}

fn memory_of_v2(texts: &Texts) -> MemoryStats {
    let usage = texts.number("memory.current").unwrap_or(0);
    let (stat, events) = (texts.text("memory.stat"), texts.text("memory.events"));
    let count = |key| file::value_of(stat, key).unwrap_or(0);
    let event = |key| file::value_of(events, key).unwrap_or(0);
    MemoryStats {
        usage,
        working_set: usage.saturating_sub(count("inactive_file")),
        rss: count("anon"),
        cache: count("file"),
        active_file: count("active_file"),
        inactive_file: count("inactive_file"),
        mapped_file: count("file_mapped"),
        kernel: count("kernel"),
        max_usage: texts.number("memory.peak"),
        failures: event("max"),
        page_faults: count("pgfault"),
        major_page_faults: count("pgmajfault"),
        limit: texts.number("memory.max"),
        swap_usage: texts.number("memory.swap.current").unwrap_or(0),
        swap_limit: texts.number("memory.swap.max"),
        oom_kills: event("oom_kill"),
        pressure: texts.pressure("memory.pressure"),
    }
}

/// Reads lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
fn io_of_v2(texts: &Texts) -> IoStats {
    let mut devices = Vec::new();
    for line in texts.text("io.stat").lines() {
        let mut words = line.split(' ');
        let Some(device) = words.next().and_then(numbers) else {
            continue;
        };
        let io = entry(&mut devices, device);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => io.read_bytes = value,
                "wbytes" => io.write_bytes = value,
                "rios" => io.reads = value,
                "wios" => io.writes = value,
                _ => {}
            }
        }
    }
    devices.retain(is_used);
    IoStats {
        devices,
        pressure: texts.pressure("io.pressure"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&'static str, &str)]) -> Texts {
        let mut texts = Texts::default();
        for (name, text) in files {
            let start = texts.begin(name);
            texts.append(text.as_bytes());
            texts.end(start);
        }
        texts
    }

    const SDA: DeviceIo = DeviceIo {
        major: 8,
        minor: 0,
        read_bytes: 4096,
        write_bytes: 512,
        reads: 2,
        writes: 1,
    };

    #[test]
    fn v1_files_become_numbers() {
        let stat = "cache 1\ninactive_file 1\nhierarchical_memory_limit 100\nhierarchical_memsw_limit 150\n\
                    total_cache 40\ntotal_rss 20\ntotal_swap 3\ntotal_pgfault 9\ntotal_pgmajfault 2\ntotal_inactive_file 15\n";
        let (cpu, memory, io) = v1(&texts(&[
            ("cpuacct.usage", "70\n"),
            ("cpuacct.usage_user", "50\n"),
            (
                "cpu.stat",
                "nr_periods 5\nnr_throttled 2\nthrottled_time 9\n",
            ),
            ("memory.usage_in_bytes", "60\n"),
            ("memory.max_usage_in_bytes", "61\n"),
            ("memory.stat", stat),
            (
                "memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            ),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 4608\n7:0 Read 0\nTotal 4608\n",
            ),
            (
                "blkio.throttle.io_serviced_recursive",
                "8:0 Read 2\n8:0 Write 1\nTotal 3\n",
            ),
        ]));
        assert_eq!((cpu.usage_ns, cpu.user_ns, cpu.system_ns), (70, 50, 20));
        let throttled = (cpu.periods, cpu.throttled_periods, cpu.throttled_ns);
        assert_eq!(throttled, (5, 2, 9));
        assert_eq!((memory.working_set, memory.rss, memory.cache), (45, 20, 40));
        let limits = (memory.limit, memory.swap_limit, memory.max_usage);
        assert_eq!(limits, (Some(100), Some(50), Some(61)));
        let counts = (memory.page_faults, memory.major_page_faults);
        assert_eq!((counts, memory.oom_kills), ((9, 2), 2));
        assert_eq!(memory.swap_usage, 3);
        assert_eq!(io.devices, [SDA]);
    }

    #[test]
    fn no_limit_of_v1_is_none() {
        let stat = "hierarchical_memory_limit 9223372036854771712\n";
        let (_, memory, _) = v1(&texts(&[("memory.stat", stat)]));
        assert_eq!((memory.limit, memory.swap_limit), (None, None));
        assert_eq!(memory.working_set, 0);
    }

    #[test]
    fn v2_files_become_numbers() {
        let pressure = "some avg10=1.50 avg60=0.20 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n";
        let (cpu, memory, io) = v2(&texts(&[
            ("cpu.stat", "usage_usec 7\nuser_usec 5\nsystem_usec 2\n"),
            ("cpu.pressure", pressure),
            ("memory.current", "100\n"),
            ("memory.max", "max\n"),
            (
                "memory.stat",
                "anon 10\nfile 60\ninactive_file 40\nkernel 8\n",
            ),
            ("memory.events", "low 0\nmax 3\noom 1\noom_kill 1\n"),
            (
                "io.stat",
                "8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n7:0 rbytes=0 wbytes=0 rios=0 wios=0\n",
            ),
        ]));
        assert_eq!((cpu.usage_ns, cpu.user_ns), (7_000, 5_000));
        let waited = cpu.pressure.unwrap();
        assert_eq!((waited.some.total_ns, waited.full.total_ns), (7_000, 2_000));
        assert!((waited.some.avg10 - 1.5).abs() < 1e-9);
        assert_eq!((memory.working_set, memory.limit), (60, None));
        assert_eq!((memory.kernel, memory.failures), (8, 3));
        assert_eq!(memory.pressure, None);
        assert_eq!(io.devices, [SDA]);
    }
}
