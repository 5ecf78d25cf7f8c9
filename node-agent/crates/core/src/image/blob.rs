//! Small blobs: configs and manifests, kept as they are.

use agent_content::{BlobError, ContentStore, Expected, IngestError};
use agent_registry::Repository;
use agent_registry::document::Descriptor;
use agent_types::Digest;

use super::Inner;
use super::error::LayerError;
use super::sync::blocking;

impl Inner {
    /// Returns a blob of at most `cap` bytes, fetched if it is not stored. The caller leases it.
    pub(super) async fn small_blob(
        &self,
        origin: &Repository,
        blob: &Descriptor,
        cap: u64,
    ) -> Result<Vec<u8>, LayerError> {
        let (digest, size) = (&blob.digest, blob.size);
        if size > cap {
            return Err(LayerError::TooLarge { size, cap });
        }
        let _held = self.blobs.lock(digest).await;
        let (content, wanted) = (self.content.clone(), digest.clone());
        let stored = blocking(move || match content.read_small(&wanted, cap) {
            Err(BlobError::Damaged { .. }) => content.remove(&wanted).map(|()| None),
            Err(BlobError::NotFound { .. }) => Ok(None),
            other => other.map(Some),
        });
        if let Some(bytes) = stored.await? {
            return Ok(bytes);
        }
        loop {
            let mut stream = origin.blob(digest, Some(size), 0);
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            match keep(self.content.clone(), digest.clone(), bytes).await {
                Err(error) if error.blames_content() && stream.disbelieve(&error) => {}
                kept => return kept,
            }
        }
    }

    /// Keeps a document that has been hashed. The caller leases it.
    pub(super) async fn keep_document(
        &self,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<(), LayerError> {
        let _held = self.blobs.lock(digest).await;
        keep(self.content.clone(), digest.clone(), bytes)
            .await
            .map(drop)
    }
}

async fn keep(
    content: ContentStore,
    digest: Digest,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, LayerError> {
    blocking(move || {
        let expected = Expected::Exactly(bytes.len() as u64);
        match content.ingest(&digest, expected) {
            Ok(mut ingest) => {
                // What is here is whole; whatever an earlier pull left is not needed.
                ingest.restart()?;
                ingest.write(&bytes)?;
                ingest.commit()?;
                Ok(bytes)
            }
            Err(IngestError::AlreadyExists { .. }) => {
                Ok(content.read_small(&digest, bytes.len() as u64)?)
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}
