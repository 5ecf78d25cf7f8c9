//! Cgroups made by systemd: slices for pods, a scope for each container.
//!
//! Owns: names of units and where their cgroups lie, the properties that limits become, and the
//! conversation with systemd. Does not: write a limit; whoever asks for a unit writes the files of
//! its cgroup as well, because systemd has no property for some of them and rounds others. The
//! properties are there so that a `daemon-reload` sets again what holds.
//!
//! A scope begins with a process, and the container's is not there yet when its cgroup is made. A
//! stand-in begins it ([`Hold`]), and ends once the container's first process was born in it.
//!
//! The interface is called over a kept connection. `cgroups-rs` has a client for it, which connects
//! anew for every call and does not wait for jobs.

mod bus;
mod device;
mod jobs;
mod kept;
mod property;
mod slice;
mod unit;

pub(crate) use property::of_limits;
pub(crate) use slice::{name_of_slice, path_of_slice};
pub use unit::Hold;
pub(crate) use unit::{Started, Systemd};

/// Why systemd did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// The system bus, or systemd on it, cannot be reached.
    #[error("systemd cannot be reached on the system bus")]
    Connect {
        /// What went wrong.
        source: Box<zbus::Error>,
    },
    /// A call was refused.
    #[error("systemd refused {call} for {unit}")]
    Call {
        /// The method.
        call: &'static str,
        /// The unit.
        unit: String,
        /// What it said.
        source: Box<zbus::Error>,
    },
    /// A job ended badly.
    #[error("systemd's job for {unit} ended as {result:?}")]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word for it.
        result: String,
    },
    /// A job did not end in time, or the connection was lost meanwhile.
    #[error("systemd did not tell the end of its job for {unit}")]
    Late {
        /// The unit.
        unit: String,
    },
    /// No process to begin a scope with.
    #[error("no process to begin {unit} with")]
    Hold {
        /// The unit.
        unit: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The unit's cgroup is not where it should be.
    #[error("cgroup of {unit} could not be entered")]
    Enter {
        /// The unit.
        unit: String,
        /// What the kernel said.
        source: rustix::io::Errno,
    },
}

impl agent_types::Classify for SystemdError {
    fn kind(&self) -> agent_types::ErrorKind {
        use agent_types::ErrorKind;
        match self {
            Self::Connect { .. } | Self::Late { .. } => ErrorKind::Unavailable,
            Self::Hold { .. } => ErrorKind::ResourceExhausted,
            Self::Call { .. } | Self::Job { .. } | Self::Enter { .. } => ErrorKind::Internal,
        }
    }
}
