//! ENOSYS for calls that are newer than the profile, or than libseccomp.
//!
//! A few instructions in front of the library's program compare the number of a call with the
//! highest that is known for its architecture:
//!
//! ```text
//!         load architecture
//!         if it is x86-64:  load number
//!                           x32's bit?  above x32's highest -> newer, else the library's program
//!                           above x86-64's highest          -> newer, else the library's program
//!         if it is i386:    load number, above its highest  -> newer, else the library's program
//!         else              the library's program (which refuses it)
//! newer:  answer ENOSYS
//!         the library's program
//! ```

use crate::arch::{Arch, X32_BIT};
use crate::program::Instruction;

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_NOT_LESS: u16 = 0x35;
const ANSWER: u16 = 0x06;

/// Places in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// `SECCOMP_RET_ERRNO` with ENOSYS.
const NOT_IMPLEMENTED: u32 = 0x0005_0000 | 38;

/// The highest number that is known for an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Highest {
    pub(crate) arch: Arch,
    /// With x32's bit, for x32.
    pub(crate) number: u32,
}

/// Where a jump leads, before its distance is known.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    Next,
    NextGroup,
    Newer,
    Library,
}

struct Step {
    code: u16,
    value: u32,
    if_true: Target,
    if_false: Target,
}

const fn load(from: u32) -> Step {
    Step {
        code: LOAD,
        value: from,
        if_true: Target::Next,
        if_false: Target::Next,
    }
}

/// Returns the instructions to put in front of the library's.
pub(crate) fn prefix(known: &[Highest]) -> Vec<Instruction> {
    let natives: Vec<_> = known
        .iter()
        .filter(|highest| highest.arch.first == 0)
        .collect();
    let groups: Vec<Vec<Step>> = natives.iter().map(|native| group(native, known)).collect();
    // The load in front, the groups, and the answer behind.
    let newer = 1 + groups.iter().map(Vec::len).sum::<usize>();
    let mut instructions = vec![Instruction {
        code: LOAD,
        if_true: 0,
        if_false: 0,
        value: ARCHITECTURE,
    }];
    for group in groups {
        let next_group = instructions.len() + group.len();
        let is_last = next_group == newer;
        for step in group {
            let after = instructions.len() + 1;
            let distance = |target| {
                let to = match target {
                    Target::Next => after,
                    Target::NextGroup if !is_last => next_group,
                    Target::Newer => newer,
                    Target::Library | Target::NextGroup => newer + 1,
                };
                // At most a dozen instructions lie between.
                u8::try_from(to - after).unwrap_or(u8::MAX)
            };
            instructions.push(Instruction {
                code: step.code,
                if_true: distance(step.if_true),
                if_false: distance(step.if_false),
                value: step.value,
            });
        }
    }
    instructions.push(Instruction {
        code: ANSWER,
        if_true: 0,
        if_false: 0,
        value: NOT_IMPLEMENTED,
    });
    instructions
}

/// Returns the tests for one word of the kernel's; x32 shares that of x86-64.
fn group(native: &Highest, known: &[Highest]) -> Vec<Step> {
    let test = |code, value, if_true, if_false| Step {
        code,
        value,
        if_true,
        if_false,
    };
    let mut steps = vec![
        test(
            JUMP_IF_EQUAL,
            native.arch.audit,
            Target::Next,
            Target::NextGroup,
        ),
        load(NUMBER),
    ];
    let above = |highest: u32| test(JUMP_IF_GREATER, highest, Target::Newer, Target::Library);
    let has_bit = native.arch.scmp == libseccomp::ScmpArch::X8664;
    let shared = known
        .iter()
        .find(|other| other.arch.first == X32_BIT && has_bit);
    match shared {
        // Above x32's highest is newer; what has the bit and is not above is the library's matter.
        Some(x32) => {
            steps.push(test(
                JUMP_IF_GREATER,
                x32.number,
                Target::Newer,
                Target::Next,
            ));
            steps.push(test(
                JUMP_IF_NOT_LESS,
                X32_BIT,
                Target::Library,
                Target::Next,
            ));
        }
        // Without x32 the library refuses everything with the bit.
        None if has_bit => steps.push(test(
            JUMP_IF_NOT_LESS,
            X32_BIT,
            Target::Library,
            Target::Next,
        )),
        None => {}
    }
    steps.push(above(native.number));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::of_machine;
    use crate::interpreter::{ALLOW, run};

    fn with_library(known: &[Highest]) -> Vec<Instruction> {
        let mut program = prefix(known);
        program.push(Instruction {
            code: ANSWER,
            if_true: 0,
            if_false: 0,
            value: ALLOW,
        });
        program
    }

    fn highest(index: usize, number: u32) -> Highest {
        Highest {
            arch: of_machine()[index],
            number,
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn each_architecture_has_its_own_border() {
        let [x86_64, x86, x32] = [of_machine()[0], of_machine()[1], of_machine()[2]];
        let known = [highest(0, 450), highest(1, 440), highest(2, X32_BIT + 547)];
        let program = with_library(&known);
        for (arch, number, expected) in [
            (x86_64, 0, ALLOW),
            (x86_64, 450, ALLOW),
            (x86_64, 451, NOT_IMPLEMENTED),
            (x86_64, X32_BIT - 1, NOT_IMPLEMENTED),
            (x86, 440, ALLOW),
            (x86, 441, NOT_IMPLEMENTED),
            (x86, X32_BIT, NOT_IMPLEMENTED),
            (x32, X32_BIT, ALLOW),
            (x32, X32_BIT + 547, ALLOW),
            (x32, X32_BIT + 548, NOT_IMPLEMENTED),
            (x86_64, u32::MAX, NOT_IMPLEMENTED),
        ] {
            assert_eq!(
                run(&program, arch.audit, number, [0; 6]),
                expected,
                "{arch:?} {number:#x}"
            );
        }
        // Another architecture is the library's matter.
        assert_eq!(run(&program, 0x1234, 9999, [0; 6]), ALLOW);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn without_x32_its_numbers_are_the_librarys_matter() {
        let program = with_library(&[highest(0, 450)]);
        let audit = of_machine()[0].audit;
        assert_eq!(run(&program, audit, X32_BIT + 5, [0; 6]), ALLOW);
        assert_eq!(run(&program, audit, 451, [0; 6]), NOT_IMPLEMENTED);
    }

    #[cfg(target_arch = "x86_64")]
    proptest::proptest! {
        #[test]
        fn any_border_is_kept_for_any_call(
            borders in proptest::array::uniform3(0_u32..2000),
            audit in 0_usize..3,
            number in 0_u32..3000,
            bit in proptest::bool::ANY,
            with_x32 in proptest::bool::ANY,
        ) {
            let mut known = vec![highest(0, borders[0]), highest(1, borders[1])];
            if with_x32 {
                known.push(highest(2, X32_BIT + borders[2]));
            }
            let arch = of_machine()[audit];
            let is_64 = arch.audit == of_machine()[0].audit;
            let call = if bit { X32_BIT + number } else { number };
            let newer = match (is_64, bit) {
                (true, true) => with_x32 && number > borders[2],
                (true, false) => number > borders[0],
                (false, _) => call > borders[1],
            };
            let answer = run(&with_library(&known), arch.audit, call, [0; 6]);
            proptest::prop_assert_eq!(answer == NOT_IMPLEMENTED, newer);
        }
    }
}
