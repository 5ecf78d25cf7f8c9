//! One layer: a tar stream built entry by entry, then compressed.

use std::fmt;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{Blob, Dialect, digest};

/// How a layer's tar stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// A finished layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What is stored and sent.
    pub blob: Blob,
    /// Digest of the tar stream.
    pub diff_id: String,
    /// How it is packed.
    pub compression: Compression,
}

impl Layer {
    /// Returns the layer of any bytes, a tar stream or not.
    pub fn pack(tar: &[u8], compression: Compression) -> Result<Self> {
        let bytes = match compression {
            Compression::None => tar.to_vec(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(tar).context("gzip a layer")?;
                encoder.finish().context("gzip a layer")?
            }
            Compression::Zstd => zstd::encode_all(tar, 3).context("zstd a layer")?,
        };
        Ok(Self {
            blob: Blob::new(bytes),
            diff_id: digest(tar),
            compression,
        })
    }

    /// Returns this layer's entry in a manifest.
    #[must_use]
    pub fn descriptor(&self, dialect: Dialect) -> Value {
        let media_type = match (dialect, self.compression) {
            (Dialect::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
            (Dialect::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Dialect::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Dialect::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Dialect::Docker, Compression::Gzip | Compression::Zstd) => {
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
            }
        };
        json!({"mediaType": media_type, "digest": self.blob.digest, "size": self.blob.bytes.len()})
    }
}

/// Collects the entries of one layer.
pub struct LayerBuilder {
    tar: Builder<Vec<u8>>,
}

impl fmt::Debug for LayerBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LayerBuilder")
            .field("bytes", &self.tar.get_ref().len())
            .finish()
    }
}

impl Default for LayerBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerBuilder {
    /// Returns a layer without entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tar: Builder::new(Vec::new()),
        }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<&mut Self> {
        self.entry(path, EntryType::Directory, mode, &[])
    }

    /// Adds a file of root's.
    pub fn file(&mut self, path: &str, content: &[u8], mode: u32) -> Result<&mut Self> {
        self.entry(path, EntryType::Regular, mode, content)
    }

    /// Adds a file of another owner.
    pub fn file_of(
        &mut self,
        path: &str,
        content: &[u8],
        mode: u32,
        owner: (u64, u64),
    ) -> Result<&mut Self> {
        let mut header = header(EntryType::Regular, mode, content.len());
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        self.tar
            .append_data(&mut header, path, content)
            .with_context(|| format!("add {path}"))?;
        Ok(self)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.tar
            .append_link(&mut header, path, target)
            .with_context(|| format!("add {path}"))?;
        Ok(self)
    }

    /// Adds a hard link to a path of this layer or one below.
    pub fn hard_link(&mut self, path: &str, target: &str) -> Result<&mut Self> {
        let mut header = header(EntryType::Link, 0o644, 0);
        self.tar
            .append_link(&mut header, path, target)
            .with_context(|| format!("add {path}"))?;
        Ok(self)
    }

    /// Hides a path of the layers below.
    pub fn whiteout(&mut self, directory: &str, name: &str) -> Result<&mut Self> {
        self.file(&format!("{directory}/.wh.{name}"), &[], 0o644)
    }

    /// Hides everything the layers below have in a directory.
    pub fn opaque(&mut self, directory: &str) -> Result<&mut Self> {
        self.file(&format!("{directory}/.wh..wh..opq"), &[], 0o644)
    }

    /// Adds a device node.
    pub fn device(
        &mut self,
        path: &str,
        kind: EntryType,
        major: u32,
        minor: u32,
    ) -> Result<&mut Self> {
        let mut header = header(kind, 0o666, 0);
        header
            .set_device_major(major)
            .context("set the major number")?;
        header
            .set_device_minor(minor)
            .context("set the minor number")?;
        self.tar
            .append_data(&mut header, path, &[][..])
            .with_context(|| format!("add {path}"))?;
        Ok(self)
    }

    /// Adds a file with extended attributes.
    pub fn file_with_xattrs(
        &mut self,
        path: &str,
        content: &[u8],
        mode: u32,
        xattrs: &[(&str, &[u8])],
    ) -> Result<&mut Self> {
        let keys: Vec<String> = xattrs
            .iter()
            .map(|(name, _)| format!("SCHILY.xattr.{name}"))
            .collect();
        let records = keys
            .iter()
            .zip(xattrs)
            .map(|(key, (_, value))| (key.as_str(), *value));
        self.tar
            .append_pax_extensions(records)
            .context("add extended attributes")?;
        self.file(path, content, mode)
    }

    /// Adds an entry whose path is written as it is, however hostile.
    pub fn raw(
        &mut self,
        path: &[u8],
        link: &[u8],
        kind: EntryType,
        content: &[u8],
    ) -> Result<&mut Self> {
        let mut header = header(kind, 0o644, content.len());
        let fields = header.as_old_mut();
        fields.name = [0; 100];
        fields
            .name
            .iter_mut()
            .zip(path)
            .for_each(|(field, byte)| *field = *byte);
        fields
            .linkname
            .iter_mut()
            .zip(link)
            .for_each(|(field, byte)| *field = *byte);
        header.set_cksum();
        self.tar
            .append(&header, content)
            .context("add a raw entry")?;
        Ok(self)
    }

    /// Ends the tar stream and returns its bytes.
    pub fn tar(self) -> Result<Vec<u8>> {
        self.tar.into_inner().context("end the tar stream")
    }

    /// Ends the layer, packed with gzip.
    pub fn gzip(self) -> Result<Layer> {
        Layer::pack(&self.tar()?, Compression::Gzip)
    }

    /// Ends the layer, packed with zstd.
    pub fn zstd(self) -> Result<Layer> {
        Layer::pack(&self.tar()?, Compression::Zstd)
    }

    fn entry(
        &mut self,
        path: &str,
        kind: EntryType,
        mode: u32,
        content: &[u8],
    ) -> Result<&mut Self> {
        let mut header = header(kind, mode, content.len());
        self.tar
            .append_data(&mut header, path, content)
            .with_context(|| format!("add {path}"))?;
        Ok(self)
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(size as u64);
    header
}
