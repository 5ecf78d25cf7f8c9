use clap::Args;
use proto::agent::{ContainerSpec, Resources, Ulimit};

use crate::parse::limit::ulimit;
use crate::parse::quantity::{CpuMillis, SwapLimit, bytes, cpus, swap};

/// What the container may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::commands) struct Limits {
    /// Most memory, such as 512m
    #[arg(short, long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,

    /// Most memory and swap together; -1: any amount of swap
    #[arg(long, value_name = "SIZE", value_parser = swap, allow_hyphen_values = true)]
    memory_swap: Option<SwapLimit>,

    /// Most processors, such as 1.5
    #[arg(long, value_name = "COUNT", value_parser = cpus)]
    cpus: Option<CpuMillis>,

    /// Microseconds of processor time in each period
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", value_parser = clap::value_parser!(u64).range(1000..))]
    cpu_quota: Option<u64>,

    /// Length of that period in microseconds [default: 100000]
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", requires = "cpu_quota", value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    cpu_period: Option<u64>,

    /// Weight against others for the processors, 2 to 262144
    #[arg(short, long, value_name = "WEIGHT", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,

    /// Processors to run on, such as 0-2,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// Memory nodes to use, such as 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Most processes and threads; -1: any number
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pids_limit: Option<i64>,

    /// Limit of each process, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    ulimit: Vec<Ulimit>,

    /// How readily it is killed when memory runs out, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
}

impl Limits {
    pub(super) fn fill(&self, spec: &mut ContainerSpec) {
        spec.resources = Some(Resources {
            memory: self.memory.unwrap_or(0),
            memory_swap: self.memory_swap.map_or(0, |SwapLimit(limit)| limit),
            cpu_millis: self.cpus.map_or(0, |CpuMillis(millis)| millis),
            cpu_quota: self.cpu_quota.unwrap_or(0),
            cpu_period: self.cpu_period.unwrap_or(0),
            cpu_shares: self.cpu_shares.unwrap_or(0),
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
            pids: self.pids_limit.unwrap_or(0),
        });
        spec.ulimits.clone_from(&self.ulimit);
        spec.oom_score_adj = self.oom_score_adj;
    }
}
