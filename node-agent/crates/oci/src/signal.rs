//! Signals by name and number.

use crate::error::{PlanError, shown};

/// Numbers from 1 on, as Linux has them on every architecture this program is built for.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// First and last real-time signal, as the C libraries count them.
const REAL_TIME: (i32, i32) = (34, 64);

/// Parses `15`, `TERM`, `SIGTERM`, `RTMIN+3` or `RTMAX-1`.
pub fn parse_signal(text: &str) -> Result<i32, PlanError> {
    find(text).ok_or_else(|| PlanError::Signal {
        signal: shown(text),
    })
}

fn find(text: &str) -> Option<i32> {
    if let Some(number) = digits(text) {
        return (1..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let name = match name {
        "POLL" => "IO",
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        other => other,
    };
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).ok();
    }
    real_time(name)
}

fn real_time(name: &str) -> Option<i32> {
    let number = match name {
        "RTMIN" => REAL_TIME.0,
        "RTMAX" => REAL_TIME.1,
        _ => match name.split_once(['+', '-'])? {
            ("RTMIN", n) if name.contains('+') => REAL_TIME.0.checked_add(digits(n)?)?,
            ("RTMAX", n) if name.contains('-') => REAL_TIME.1.checked_sub(digits(n)?)?,
            _ => return None,
        },
    };
    (REAL_TIME.0..=REAL_TIME.1)
        .contains(&number)
        .then_some(number)
}

fn digits(text: &str) -> Option<i32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (text, number) in [
            ("15", 15),
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("KILL", 9),
            ("CHLD", 17),
            ("SYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("WINCH", 28),
            ("64", 64),
        ] {
            assert_eq!(parse_signal(text), Ok(number), "{text}");
        }
        for bad in [
            "",
            "0",
            "65",
            "-1",
            "SIG",
            "NOPE",
            "RTMIN+31",
            "RTMAX+1",
            "RTMIN-1",
            "RTMIN+",
            "SIGSIGTERM",
            "15 ",
        ] {
            assert!(parse_signal(bad).is_err(), "{bad:?}");
        }
    }
}
