//! A large image whose bytes compress about as well as those of real ones.

use anyhow::{Context as _, Result, anyhow};

use super::{Image, Layer, LayerBuilder, busybox_layer, default_config};

/// How large the image is to be.
#[derive(Clone, Copy, Debug)]
pub struct BigImage {
    /// Gzip layers above busybox's.
    pub layers: usize,
    /// Bytes in a layer, before compression.
    pub layer_bytes: usize,
}

impl BigImage {
    /// The image of the pull benchmark: five layers, about 540 MiB in all.
    pub const BENCHMARK: Self = Self {
        layers: 5,
        layer_bytes: 108 << 20,
    };

    /// Makes the image.
    pub fn build(self) -> Result<Image> {
        self.build_numbered(0)
    }

    /// Makes one of many images of which no two share a large layer; two layers at a time are
    /// under way.
    pub fn build_numbered(self, number: u64) -> Result<Image> {
        let first = number * self.layers as u64;
        let seeds: Vec<u64> = (first + 1..=first + self.layers as u64).collect();
        let mut layers = vec![busybox_layer()?.gzip()?];
        for pair in seeds.chunks(2) {
            let made: Vec<Result<Layer>> = std::thread::scope(|scope| {
                let workers: Vec<_> = pair
                    .iter()
                    .map(|seed| scope.spawn(|| big_layer(*seed, self.layer_bytes)))
                    .collect();
                workers
                    .into_iter()
                    .map(|worker| {
                        worker
                            .join()
                            .map_err(|_| anyhow!("a layer's maker panicked"))?
                    })
                    .collect()
            });
            for layer in made {
                layers.push(layer.context("make a large layer")?);
            }
        }
        Ok(Image::new(layers, &default_config()))
    }
}

/// Returns a gzip layer of about `bytes`: a few large files, and many small ones in directories
/// of their own, as package managers leave them. Equal seeds give equal layers.
pub fn big_layer(seed: u64, bytes: usize) -> Result<Layer> {
    let mut noise = Noise::new(seed);
    let mut layer = LayerBuilder::new();
    let root = format!("data-{seed}");
    layer.directory(&root, 0o755)?;
    let large = bytes / 8;
    for number in 0..4 {
        layer.file(
            &format!("{root}/large-{number}"),
            &noise.bytes(large),
            0o644,
        )?;
    }
    let (mut left, mut number) = (bytes - 4 * large, 0);
    while left > 0 {
        if number % 50 == 0 {
            layer.directory(&format!("{root}/directory-{}", number / 50), 0o755)?;
        }
        let size = (1024 + noise.below(48 << 10)).min(left);
        layer.file(
            &format!("{root}/directory-{}/small-{number}", number / 50),
            &noise.bytes(size),
            0o644,
        )?;
        left -= size;
        number += 1;
    }
    layer.gzip()
}

/// Repeatable bytes, part noise and part words.
struct Noise {
    state: u64,
    words: Vec<[u8; 16]>,
}

impl Noise {
    fn new(seed: u64) -> Self {
        let mut noise = Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            words: Vec::new(),
        };
        noise.words = (0..512).map(|_| noise.chunk()).collect();
        noise
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(0) % bound
    }

    fn chunk(&mut self) -> [u8; 16] {
        let mut chunk = [0; 16];
        chunk[..8].copy_from_slice(&self.next().to_le_bytes());
        chunk[8..].copy_from_slice(&self.next().to_le_bytes());
        chunk
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            // Three chunks in ten are new; the rest are words met before.
            let chunk = if self.below(10) < 3 {
                self.chunk()
            } else {
                let word = self.below(self.words.len());
                self.words[word]
            };
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(size);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_layers_that_compress_to_less_than_half() {
        let layer = big_layer(7, 1 << 20).unwrap();
        assert_eq!(
            layer.blob.digest,
            big_layer(7, 1 << 20).unwrap().blob.digest
        );
        assert_ne!(
            layer.blob.digest,
            big_layer(8, 1 << 20).unwrap().blob.digest
        );
        let packed = layer.blob.bytes.len();
        assert!(
            (300 << 10..512 << 10).contains(&packed),
            "{packed} bytes from a MiB"
        );
    }
}
