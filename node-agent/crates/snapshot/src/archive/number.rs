//! Numeric header fields, read strictly: what two readers could take differently is refused.

/// Reads an octal or base-256 field; blank is zero, `None` is refused.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => Some(binary(field)),
        _ => octal(field),
    }
}

/// Reads a field that can be no less than zero.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    number(field).and_then(|n| u64::try_from(n).ok())
}

/// Two's complement, most significant byte first, the top bit being the mark of this encoding.
fn binary(field: &[u8]) -> i128 {
    let negative = field[0] & 0x40 != 0;
    let top = i128::from(field[0] & 0x7f) - if negative { 0x80 } else { 0 };
    field[1..]
        .iter()
        .fold(top, |value, byte| (value << 8) | i128::from(*byte))
}

/// Blanks, octal digits, then blanks or NULs to the end.
fn octal(field: &[u8]) -> Option<i128> {
    let start = field.iter().position(|b| *b != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits
        .iter()
        .position(|b| matches!(b, 0 | b' '))
        .unwrap_or(digits.len());
    if digits[end..].iter().any(|b| !matches!(b, 0 | b' ')) {
        return None;
    }
    digits[..end].iter().try_fold(0_i128, |value, byte| {
        matches!(byte, b'0'..=b'7').then(|| (value << 3) | i128::from(byte - b'0'))
    })
}

/// Reads decimal digits and nothing else, as in a pax record.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_as_real_writers_fill_them() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"00000001750 "), Some(0o1750));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x07"), Some(7));
        assert_eq!(number(&[0xff; 12]), Some(-1));
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for bad in [
            &b"-0000001"[..],
            b"0000648\0",
            b"0x1\0",
            b"\x0001",
            b"12\x0034",
            b"1 2",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        assert_eq!(unsigned(&[0xff; 12]), None);
        for bad in [
            &b""[..],
            b"+1",
            b"-1",
            b" 1",
            b"1 ",
            b"99999999999999999999999",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn octal_round_trips(value in 0_u64..0o77_777_777_777) {
            prop_assert_eq!(unsigned(format!("{value:011o}\0").as_bytes()), Some(value));
        }

        #[test]
        fn binary_round_trips(value in any::<i64>()) {
            let mut field = [if value < 0 { 0xff } else { 0 }; 12];
            field[4..].copy_from_slice(&value.to_be_bytes());
            field[0] |= 0x80;
            prop_assert_eq!(number(&field), Some(i128::from(value)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(field in any::<[u8; 12]>()) {
            let _ = unsigned(&field);
        }
    }
}
