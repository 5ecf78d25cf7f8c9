//! Runs a filter as the kernel would, to prove what it answers. Tests only.

use crate::program::Instruction;

/// Answers of the kernel.
pub(crate) const ALLOW: u32 = 0x7fff_0000;
pub(crate) const KILL_THREAD: u32 = 0;

/// Returns the answer that makes a call fail with `errno`.
pub(crate) const fn errno(errno: u32) -> u32 {
    0x0005_0000 | errno
}

/// Returns the answer to one call.
pub(crate) fn run(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let low_and_high = |value: u64| {
        let bytes = value.to_le_bytes();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        [word(0), word(4)]
    };
    let mut data = vec![number, audit, 0, 0];
    data.extend(arguments.into_iter().flat_map(low_and_high));
    let mut accumulator = 0_u32;
    let mut at = 0_usize;
    for _ in 0..program.len() {
        let Instruction {
            code,
            if_true,
            if_false,
            value,
        } = program[at];
        let branch = |holds: bool| usize::from(if holds { if_true } else { if_false });
        at += 1;
        match code {
            0x20 => accumulator = data[usize::try_from(value).unwrap() / 4],
            0x54 => accumulator &= value,
            0x05 => at += usize::try_from(value).unwrap(),
            0x15 => at += branch(accumulator == value),
            0x25 => at += branch(accumulator > value),
            0x35 => at += branch(accumulator >= value),
            0x45 => at += branch(accumulator & value != 0),
            0x06 => return value,
            other => panic!("instruction {other:#x} is not one of a seccomp filter"),
        }
    }
    panic!("the program does not end");
}
