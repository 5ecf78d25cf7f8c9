//! Amounts: bytes of memory, processors.

use super::ParseError;

const BYTES: &str = "a size, such as 512m or 1.5g";

/// Bytes of memory and swap together, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SwapLimit(pub(crate) i64);

/// Processor time in thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuMillis(pub(crate) u64);

/// Reads a size in bytes; units are powers of 1024: `b`, `k`, `m`, `g`, `t`, `p`.
pub(crate) fn bytes(text: &str) -> Result<u64, ParseError> {
    let malformed = || ParseError::form(text, BYTES);
    let lower = text.to_ascii_lowercase();
    let end = lower
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let exponent = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(malformed()),
    };
    scaled(number, 1024_u128.pow(exponent))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(malformed)
}

/// Reads the limit of memory and swap: a size, or -1 for none.
pub(crate) fn swap(text: &str) -> Result<SwapLimit, ParseError> {
    if text == "-1" {
        return Ok(SwapLimit(-1));
    }
    let limit = i64::try_from(bytes(text)?);
    limit
        .map(SwapLimit)
        .map_err(|_| ParseError::form(text, BYTES))
}

/// Reads a number of processors, such as `1.5`.
pub(crate) fn cpus(text: &str) -> Result<CpuMillis, ParseError> {
    let millis = scaled(text, 1000).and_then(|millis| u64::try_from(millis).ok());
    // Thousands of cores are a slip, and a part smaller than 1/1000 cannot be asked for.
    millis
        .filter(|millis| (1..=10_000_000).contains(millis))
        .map(CpuMillis)
        .ok_or_else(|| ParseError::form(text, "a number of processors, such as 1.5"))
}

/// Returns decimal `number` times `scale`, without what is left behind the point.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // More digits than these change nothing, and might overflow.
    if whole.is_empty() || whole.len() > 20 || part.len() > 15 {
        return None;
    }
    let digits = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<u128>().ok()
        }
    };
    if !number
        .bytes()
        .all(|byte| byte == b'.' || byte.is_ascii_digit())
    {
        return None;
    }
    let divisor = 10_u128.pow(part.len().try_into().ok()?);
    let whole = digits(whole)?.checked_mul(scale)?;
    whole.checked_add(digits(part)?.checked_mul(scale)? / divisor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let table = [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("4k", 4096),
            ("4KB", 4096),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("1 GiB", 1 << 30),
            ("0.5t", 1 << 39),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text).expect(text), expected, "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "1.2.3",
            ".5",
            "1e3",
            "99999999p",
            "1mm",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn swap_may_be_without_limit() {
        assert_eq!(swap("-1").expect("no limit"), SwapLimit(-1));
        assert_eq!(swap("1m").expect("a size"), SwapLimit(1 << 20));
        assert!(swap("-2").is_err());
    }

    #[test]
    fn processors_come_in_thousandths() {
        assert_eq!(cpus("1.5").expect("a number"), CpuMillis(1500));
        assert_eq!(cpus("0.001").expect("a number"), CpuMillis(1));
        assert_eq!(cpus("2").expect("a number"), CpuMillis(2000));
        for text in ["0", "0.0001", "-1", "x", "", "99999999"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_bytes_come_back(size: u64) {
            prop_assert_eq!(bytes(&size.to_string()).ok(), Some(size));
        }

        #[test]
        fn no_input_makes_the_parsers_panic(text in "[0-9.kmgtpib -]{0,40}") {
            let _ = (bytes(&text), swap(&text), cpus(&text));
        }
    }
}
