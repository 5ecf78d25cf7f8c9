//! Sizes in words: decimal units for what is stored, binary ones for memory.

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns `bytes` with three significant digits, such as "4.26MB".
pub(crate) fn decimal_size(bytes: u64) -> String {
    scaled(bytes, 1000, &DECIMAL, 3)
}

/// Returns `bytes` with four significant digits, such as "7.653GiB".
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024, &BINARY, 4)
}

fn scaled(bytes: u64, base: u64, units: &[&str], digits: usize) -> String {
    let value = u128::from(bytes);
    let mut unit = 0;
    let mut divisor = 1_u128;
    // What would be rounded up to a whole of the next unit is said in that one.
    while unit + 1 < units.len() && (value + divisor / 2) / divisor >= u128::from(base) {
        divisor *= u128::from(base);
        unit += 1;
    }
    format!("{}{}", significant(value, divisor, digits), units[unit])
}

/// Returns `value / divisor` with so many significant digits and no trailing zeros.
fn significant(value: u128, divisor: u128, digits: usize) -> String {
    let whole = (value / divisor).to_string();
    let places = digits.saturating_sub(whole.len());
    let scale = 10_u128.pow(places.try_into().unwrap_or(0));
    let rounded = (value * scale + divisor / 2) / divisor;
    let (whole, part) = (rounded / scale, rounded % scale);
    if part == 0 {
        return whole.to_string();
    }
    let part = format!("{part:0places$}");
    format!("{whole}.{}", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_sizes_have_three_digits_in_decimal_units() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (4_261_502, "4.26MB"),
            (133_240_000, "133MB"),
            (999_600_000, "1GB"),
            (1_234_567_890, "1.23GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(decimal_size(bytes), expected);
        }
    }

    #[test]
    fn memory_has_four_digits_in_binary_units() {
        assert_eq!(binary_size(1023), "1023B");
        assert_eq!(binary_size(1024), "1KiB");
        assert_eq!(binary_size(8_217_694_208), "7.653GiB");
    }
}
