//! Programs of classic BPF, as seccomp loads them.

use std::fmt;
use std::sync::Arc;

/// One instruction: `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) value: u32,
}

const SIZE: usize = 8;

impl Instruction {
    fn from_bytes(bytes: &[u8; SIZE]) -> Self {
        let [a, b, if_true, if_false, c, d, e, f] = *bytes;
        Self {
            code: u16::from_ne_bytes([a, b]),
            if_true,
            if_false,
            value: u32::from_ne_bytes([c, d, e, f]),
        }
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let [a, b] = self.code.to_ne_bytes();
        let [c, d, e, f] = self.value.to_ne_bytes();
        [a, b, self.if_true, self.if_false, c, d, e, f]
    }
}

/// Splits bytes into instructions; a rest that is none is dropped.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Instruction> {
    bytes
        .as_chunks::<SIZE>()
        .0
        .iter()
        .map(Instruction::from_bytes)
        .collect()
}

/// A compiled filter: the bytes for `seccomp(2)`, eight for each instruction. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Bpf(Arc<[u8]>);

impl Bpf {
    pub(crate) fn of(instructions: &[Instruction]) -> Self {
        Self(instructions.iter().flat_map(|one| one.to_bytes()).collect())
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns a copy of the bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Returns the number of instructions.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.0.len() / SIZE
    }
}

impl fmt::Debug for Bpf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bpf({} instructions)", self.instructions())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_survive_the_way_through_instructions(bytes in proptest::collection::vec(any::<[u8; 8]>(), 0..20)) {
            let bytes = bytes.concat();
            let program = Bpf::of(&decode(&bytes));
            prop_assert_eq!(program.as_bytes(), &bytes[..]);
            prop_assert_eq!(program.instructions(), bytes.len() / 8);
        }
    }
}
