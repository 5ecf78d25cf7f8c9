//! Caps on what a layer may ask of this node.

/// Caps on one layer. An attacker's layer meets them; a real one does not.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the uncompressed archive, and of all files made from it, holes included.
    pub bytes: u64,
    /// Entries in the archive.
    pub entries: u64,
    /// Plain bytes for each compressed one, checked beyond [`Self::ratio_from`].
    pub ratio: u64,
    /// Plain bytes up to which any ratio is fine.
    pub ratio_from: u64,
    /// Bytes of one extended header: long names, attributes.
    pub extended: u64,
    /// Bytes of names and attributes kept for directories until the end, when their times are set.
    pub directories: usize,
    /// Log2 of the largest window a zstd frame may ask for, which is memory held.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    /// 64 GiB, ten million entries. Gzip cannot compress better than 1032 to 1, so that the ratio
    /// of 2000 stops only what was made to explode, and a real file of zeros passes.
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 10_000_000,
            ratio: 2000,
            ratio_from: 1 << 30,
            extended: 1 << 20,
            directories: 64 << 20,
            zstd_window_log: 25,
        }
    }
}

/// Which cap a layer went over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// [`Limits::bytes`].
    #[error("it has more than {limit} bytes unpacked")]
    Bytes {
        /// The cap.
        limit: u64,
    },
    /// [`Limits::entries`].
    #[error("it has more than {limit} entries")]
    Entries {
        /// The cap.
        limit: u64,
    },
    /// [`Limits::ratio`].
    #[error("each of its bytes becomes more than {limit}")]
    Ratio {
        /// The cap.
        limit: u64,
    },
    /// [`Limits::directories`].
    #[error("its directories need more than {limit} bytes of memory")]
    Directories {
        /// The cap.
        limit: usize,
    },
}

impl Limits {
    /// Checks the stream so far.
    pub(crate) fn check_stream(&self, plain: u64, compressed: u64) -> Result<(), Limit> {
        if plain > self.bytes {
            return Err(Limit::Bytes { limit: self.bytes });
        }
        if plain > self.ratio_from && plain / compressed.max(1) > self.ratio {
            return Err(Limit::Ratio { limit: self.ratio });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_told_from_a_file_of_zeros() {
        let limits = Limits::default();
        let two_gib = 2 << 30;
        assert_eq!(limits.check_stream(two_gib, two_gib / 1030), Ok(()));
        assert_eq!(
            limits.check_stream(1 << 30, 10),
            Ok(()),
            "small ones may do as they like"
        );
        assert!(matches!(
            limits.check_stream(two_gib, two_gib / 5000),
            Err(Limit::Ratio { .. })
        ));
        assert!(matches!(
            limits.check_stream(1 << 37, 1 << 37),
            Err(Limit::Bytes { .. })
        ));
    }
}
