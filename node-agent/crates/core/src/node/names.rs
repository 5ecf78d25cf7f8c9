//! Names for containers whose makers gave none.

use std::io;

use super::Node;

/// How the first word reads.
const MOODS: [&str; 32] = [
    "able", "bold", "brisk", "calm", "clear", "cosy", "deft", "eager", "fair", "fond", "gentle",
    "glad", "grand", "handy", "jolly", "keen", "kind", "lively", "lucid", "merry", "mild", "neat",
    "noble", "plucky", "quick", "quiet", "rapid", "sage", "smart", "steady", "sunny", "witty",
];

/// What the second word names.
const THINGS: [&str; 32] = [
    "acorn", "anchor", "badger", "beacon", "birch", "brook", "canyon", "cedar", "comet", "crane",
    "delta", "ember", "falcon", "fern", "garnet", "glacier", "harbor", "heron", "juniper", "kite",
    "lantern", "maple", "meadow", "otter", "pebble", "quartz", "raven", "reef", "sparrow",
    "thistle", "tundra", "willow",
];

impl Node {
    /// Returns a name that no person's container has now.
    ///
    /// # Errors
    /// When the kernel has no random bytes to give.
    pub fn free_name(&self) -> io::Result<String> {
        loop {
            let random = crate::random::bytes()?;
            for bytes in random.chunks_exact(4) {
                let mood = MOODS[usize::from(bytes[0] & 31)];
                let thing = THINGS[usize::from(bytes[1] & 31)];
                let plain = format!("{mood}_{thing}");
                let numbered = format!("{plain}{}", u16::from_le_bytes([bytes[2], bytes[3]]));
                for name in [plain, numbered] {
                    if self.index.local_by_name(&name).is_none() {
                        return Ok(name);
                    }
                }
            }
        }
    }
}
