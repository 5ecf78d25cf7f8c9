//! The program that the kernel runs at every open and mknod of a device in a v2 cgroup.
//!
//! Its context is three 32-bit words: access in the upper and kind in the lower half of the first,
//! then major, then minor. It answers 1 to allow and 0 to deny. The rules are asked from the last
//! to the first, so that a later rule wins as on v1; when none applies, the answer is 0.
//!
//! A rule grants or denies single accesses, but the program answers for all that were asked at
//! once. So an allowing rule must cover every access asked, and a denying one only needs to
//! touch one of them. Two allowing rules that only together cover a request do not: that is
//! stricter than v1, never laxer.

use super::{DeviceKind, DeviceRule};

/// Kinds and accesses of `linux/bpf.h`.
const KIND_BLOCK: i32 = 1;
const KIND_CHAR: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Instruction classes and modes that the program uses.
const LOAD_WORD: u8 = 0x61;
const AND_32: u8 = 0x54;
const SHIFT_RIGHT_32: u8 = 0x74;
const MOVE_REGISTER_32: u8 = 0xbc;
const MOVE_VALUE_32: u8 = 0xb4;
const JUMP_NOT_EQUAL_32: u8 = 0x56;
const JUMP_EQUAL_32: u8 = 0x16;
const EXIT: u8 = 0x95;

/// Registers: the result, the context, and what is taken out of it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Encodes one instruction as the kernel reads it on a little-endian machine.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> u64 {
    let mut bytes = [0_u8; 8];
    bytes[0] = code;
    bytes[1] = if cfg!(target_endian = "little") {
        destination | source << 4
    } else {
        source | destination << 4
    };
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..8].copy_from_slice(&value.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// Returns the program for `rules`.
pub(super) fn of(rules: &[DeviceRule]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER_32, ACCESS, KIND, 0, 0),
        instruction(AND_32, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT_32, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
        if applies_always(rule) {
            // What follows could never run, and the kernel refuses programs with such code.
            return program;
        }
    }
    program.push(instruction(MOVE_VALUE_32, RESULT, 0, 0, 0));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

fn applies_always(rule: &DeviceRule) -> bool {
    conditions(rule).is_empty()
}

/// One test of a rule: the instructions of which the last jumps away when it fails.
struct Condition {
    before: Vec<u64>,
    code: u8,
    register: u8,
    value: i32,
}

fn conditions(rule: &DeviceRule) -> Vec<Condition> {
    let plain = |register, value| Condition {
        before: Vec::new(),
        code: JUMP_NOT_EQUAL_32,
        register,
        value,
    };
    let mut conditions = Vec::new();
    match rule.kind {
        DeviceKind::All => {}
        DeviceKind::Char => conditions.push(plain(KIND, KIND_CHAR)),
        DeviceKind::Block => conditions.push(plain(KIND, KIND_BLOCK)),
    }
    conditions.extend(access_condition(rule));
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        conditions.extend(number.map(|number| plain(register, number.cast_signed())));
    }
    conditions
}

/// An allowing rule covers all that is asked; a denying rule touches any of it.
fn access_condition(rule: &DeviceRule) -> Option<Condition> {
    let bits = [
        (rule.access.mknod, ACCESS_MKNOD),
        (rule.access.read, ACCESS_READ),
        (rule.access.write, ACCESS_WRITE),
    ];
    let mask = bits
        .iter()
        .filter(|(on, _)| *on)
        .fold(0, |mask, (_, bit)| mask | bit);
    if mask == (ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE) {
        return None;
    }
    let (code, kept) = if rule.allow {
        (JUMP_NOT_EQUAL_32, !mask)
    } else {
        (JUMP_EQUAL_32, mask)
    };
    Some(Condition {
        before: vec![
            instruction(MOVE_REGISTER_32, CONTEXT, ACCESS, 0, 0),
            instruction(AND_32, CONTEXT, 0, 0, kept),
        ],
        code,
        register: CONTEXT,
        value: 0,
    })
}

/// Returns the instructions of one rule: its tests, each jumping past the end, then the answer.
fn block(rule: &DeviceRule) -> Vec<u64> {
    let conditions = conditions(rule);
    let length: usize = conditions.iter().map(|c| c.before.len() + 1).sum::<usize>() + 2;
    let mut program = Vec::with_capacity(length);
    for condition in conditions {
        program.extend(condition.before);
        // A block has at most a dozen instructions.
        let skipped = i16::try_from(length - program.len() - 1).unwrap_or(i16::MAX);
        program.push(instruction(
            condition.code,
            condition.register,
            0,
            skipped,
            condition.value,
        ));
    }
    program.push(instruction(
        MOVE_VALUE_32,
        RESULT,
        0,
        0,
        i32::from(rule.allow),
    ));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, DeviceRules};
    use proptest::prelude::*;

    /// Runs a program as the kernel would, refusing what it would refuse.
    fn run(program: &[u64], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let context = [u32::try_from(access << 16 | kind).unwrap(), major, minor];
        let mut registers = [None::<u32>; 6];
        let mut at = 0_usize;
        loop {
            let bytes = program[at].to_ne_bytes();
            let (destination, source) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
            let value =
                i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]).cast_unsigned();
            let jump = |taken: bool| {
                if taken {
                    usize::try_from(offset).unwrap()
                } else {
                    0
                }
            };
            match bytes[0] {
                LOAD_WORD => {
                    assert_eq!((source, registers[1]), (1, None), "context was overwritten");
                    registers[destination] = Some(context[usize::try_from(offset).unwrap() / 4]);
                }
                MOVE_REGISTER_32 => registers[destination] = Some(registers[source].unwrap()),
                MOVE_VALUE_32 => registers[destination] = Some(value),
                AND_32 => registers[destination] = Some(registers[destination].unwrap() & value),
                SHIFT_RIGHT_32 => {
                    registers[destination] = Some(registers[destination].unwrap() >> value)
                }
                JUMP_NOT_EQUAL_32 => at += jump(registers[destination].unwrap() != value),
                JUMP_EQUAL_32 => at += jump(registers[destination].unwrap() == value),
                EXIT => return registers[0].unwrap() == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
            at += 1;
        }
    }

    const READ_WRITE: i32 = ACCESS_READ | ACCESS_WRITE;

    #[test]
    fn the_default_set_opens_null_and_no_disk() {
        let program = of(DeviceRules::container_default().rules());
        assert!(run(&program, KIND_CHAR, READ_WRITE, 1, 3));
        assert!(run(&program, KIND_CHAR, ACCESS_READ, 136, 7));
        assert!(
            run(&program, KIND_BLOCK, ACCESS_MKNOD, 8, 0),
            "mknod of any device"
        );
        for access in [
            ACCESS_READ,
            ACCESS_WRITE,
            READ_WRITE,
            ACCESS_READ | ACCESS_MKNOD,
        ] {
            assert!(
                !run(&program, KIND_BLOCK, access, 8, 0),
                "disk, access {access}"
            );
        }
        assert!(!run(&program, KIND_CHAR, ACCESS_READ, 1, 1), "/dev/mem");
        assert!(
            !run(&program, KIND_BLOCK, ACCESS_READ, 1, 3),
            "a block device with null's numbers"
        );
    }

    #[test]
    fn a_later_rule_wins() {
        let deny = DeviceRule {
            allow: false,
            access: Access {
                read: false,
                write: true,
                mknod: false,
            },
            .."c 1:3 rwm".parse().unwrap()
        };
        let program = of(DeviceRules::container_default().with(deny).rules());
        assert!(run(&program, KIND_CHAR, ACCESS_READ, 1, 3));
        assert!(!run(&program, KIND_CHAR, READ_WRITE, 1, 3));
        assert!(run(&program, KIND_CHAR, READ_WRITE, 1, 5));
    }

    #[test]
    fn no_rules_deny_and_all_allows_without_dead_code() {
        assert!(!run(&of(&[]), KIND_CHAR, ACCESS_READ, 1, 3));
        let everything = of(DeviceRules::container_default()
            .with(DeviceRules::all().rules()[0])
            .rules());
        assert!(run(
            &everything,
            KIND_BLOCK,
            READ_WRITE | ACCESS_MKNOD,
            8,
            0
        ));
        assert_eq!(everything.len(), of(DeviceRules::all().rules()).len());
    }

    fn rule() -> impl Strategy<Value = DeviceRule> {
        let kind = prop_oneof![
            Just(DeviceKind::All),
            Just(DeviceKind::Char),
            Just(DeviceKind::Block)
        ];
        let number = || proptest::option::of(0_u32..3);
        (any::<bool>(), kind, number(), number(), 1_u8..8).prop_map(
            |(allow, kind, major, minor, bits)| {
                let access = Access {
                    read: bits & 1 != 0,
                    write: bits & 2 != 0,
                    mknod: bits & 4 != 0,
                };
                DeviceRule {
                    allow,
                    kind,
                    major,
                    minor,
                    access,
                }
            },
        )
    }

    /// The meaning of the rules in plain words, for one access bit.
    fn granted(rules: &[DeviceRule], kind: i32, bit: i32, major: u32, minor: u32) -> bool {
        let covers = |rule: &&DeviceRule| {
            let is_kind = match rule.kind {
                DeviceKind::All => true,
                DeviceKind::Char => kind == KIND_CHAR,
                DeviceKind::Block => kind == KIND_BLOCK,
            };
            let is_access = match bit {
                ACCESS_READ => rule.access.read,
                ACCESS_WRITE => rule.access.write,
                _ => rule.access.mknod,
            };
            is_kind
                && is_access
                && rule.major.is_none_or(|n| n == major)
                && rule.minor.is_none_or(|n| n == minor)
        };
        rules
            .iter()
            .rev()
            .find(covers)
            .is_some_and(|rule| rule.allow)
    }

    proptest! {
        #[test]
        fn the_program_means_what_the_rules_say(
            rules in proptest::collection::vec(rule(), 0..8),
            kind in 1..=2_i32, major in 0_u32..3, minor in 0_u32..3,
        ) {
            let program = of(&rules);
            for bit in [ACCESS_MKNOD, ACCESS_READ, ACCESS_WRITE] {
                prop_assert_eq!(run(&program, kind, bit, major, minor), granted(&rules, kind, bit, major, minor));
            }
            let both = run(&program, kind, READ_WRITE, major, minor);
            let each = granted(&rules, kind, ACCESS_READ, major, minor) && granted(&rules, kind, ACCESS_WRITE, major, minor);
            prop_assert!(!both || each, "never laxer than the rules");
        }
    }
}
