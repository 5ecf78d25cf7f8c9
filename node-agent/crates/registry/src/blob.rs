//! A blob as a stream that goes on where a connection broke.

use std::sync::Arc;

use agent_types::Digest;
use bytes::Bytes;
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};

use crate::error::RequestError;
use crate::hosts::{Capability, Host};
use crate::retry::Retry;
use crate::session::{Answered, Ask, Session};
use crate::transport::Exchange;

/// The bytes of a blob from an offset on, unverified: whoever keeps them hashes them.
#[derive(Debug)]
pub struct BlobStream {
    session: Session,
    digest: Digest,
    size: Option<u64>,
    offset: u64,
    retry: Retry,
    ranges: Ranges,
    answer: Option<Answer>,
    /// Who has given bytes so far.
    givers: Vec<Arc<Host>>,
}

/// Whether the server is asked for a part of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    Asked,
    /// It has refused a range that the manifest allows.
    Avoided,
}

#[derive(Debug)]
struct Answer {
    exchange: Exchange,
    host: Arc<Host>,
    /// Bytes before the offset that the server sends nevertheless.
    skip: u64,
}

impl BlobStream {
    pub(crate) fn new(session: Session, digest: &Digest, size: Option<u64>, offset: u64) -> Self {
        Self {
            retry: Retry::new(session.shared.transport.config()),
            session,
            digest: digest.clone(),
            size,
            offset,
            ranges: Ranges::Asked,
            answer: None,
            givers: Vec::new(),
        }
    }

    /// Returns the offset of the next byte.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes note that the bytes are not those that the digest means: the mirrors that gave any of
    /// them are asked for nothing more. Returns whether somebody is left who may have the right ones.
    #[must_use]
    pub fn disbelieve(&self, error: &(impl std::error::Error + 'static)) -> bool {
        let givers = self.givers.iter();
        let passed = givers.filter(|host| self.session.pass_over(host, Capability::Pull, error));
        passed.count() > 0
    }

    /// Returns the next bytes, none at the end. A broken connection is made again and the blob
    /// continued; only what does not get better by that is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        loop {
            if self.size == Some(self.offset) {
                return self.finish().await;
            }
            match self.step().await {
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) if self.size.is_none() => return Ok(None),
                Ok(None) => {
                    let early = self.broken();
                    self.wait(early).await?;
                }
                Err(RequestError::Status { status, .. })
                    if status == StatusCode::RANGE_NOT_SATISFIABLE
                        && self.ranges == Ranges::Asked =>
                {
                    self.ranges = Ranges::Avoided;
                }
                Err(error) if self.gives_way(&error) => self.answer = None,
                Err(error) => self.wait(error).await?,
            }
        }
    }

    /// Says whether the next host is to be asked, because a mirror sends more than there can be.
    fn gives_way(&self, error: &RequestError) -> bool {
        let giver = self.answer.as_ref().map(|answer| &answer.host);
        matches!(error, RequestError::TooLarge { .. })
            && giver.is_some_and(|host| self.session.pass_over(host, Capability::Pull, error))
    }

    async fn wait(&mut self, error: RequestError) -> Result<(), RequestError> {
        if let Some(answer) = self.answer.take() {
            answer.host.failed();
        }
        let wait = self.retry.after(error)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Reads once, opening a connection if there is none.
    async fn step(&mut self) -> Result<Option<Bytes>, RequestError> {
        let answer = match &mut self.answer {
            Some(answer) => answer,
            None => {
                let answer = self.open().await?;
                self.givers.push(Arc::clone(&answer.host));
                self.answer.insert(answer)
            }
        };
        loop {
            let Some(mut chunk) = answer.exchange.chunk().await? else {
                return Ok(None);
            };
            let skipped = answer.skip.min(chunk.len() as u64);
            answer.skip -= skipped;
            // The minimum above is at most the length of the chunk.
            let chunk = chunk.split_off(usize::try_from(skipped).unwrap_or(chunk.len()));
            if chunk.is_empty() {
                continue;
            }
            let end = self.offset.saturating_add(chunk.len() as u64);
            if let Some(size) = self.size
                && end > size
            {
                return Err(self.too_large(size));
            }
            self.offset = end;
            self.retry.progressed(chunk.len());
            return Ok(Some(chunk));
        }
    }

    /// Looks for bytes behind the last one; a connection that breaks there has done its work.
    async fn finish(&mut self) -> Result<Option<Bytes>, RequestError> {
        if let Some(mut answer) = self.answer.take()
            && let Ok(Some(extra)) = answer.exchange.chunk().await
            && !extra.is_empty()
        {
            let error = self.too_large(self.offset);
            // Of a mirror, the digest tells whether what came before is right.
            if !self
                .session
                .pass_over(&answer.host, Capability::Pull, &error)
            {
                return Err(error);
            }
        }
        Ok(None)
    }

    /// Asks one host after the other, as long as those that answer are mirrors and wrong.
    async fn open(&self) -> Result<Answer, RequestError> {
        let mut headers = Vec::new();
        let from = match self.ranges {
            Ranges::Asked => self.offset,
            Ranges::Avoided => 0,
        };
        if from > 0 {
            headers.push((RANGE, format!("bytes={from}-")));
        }
        let ask = Ask {
            method: Method::GET,
            capability: Capability::Pull,
            path: format!("blobs/{}", self.digest),
            headers,
            what: self.what(),
        };
        loop {
            let answered = self.session.send(&ask).await?;
            let host = Arc::clone(&answered.host);
            match self.accept(answered) {
                Err(error @ RequestError::Size { .. })
                    if self.session.pass_over(&host, Capability::Pull, &error) => {}
                outcome => return outcome,
            }
        }
    }

    /// Finds out where in the blob an answer begins.
    fn accept(&self, answered: Answered) -> Result<Answer, RequestError> {
        let Answered { exchange, host } = answered;
        let (start, total) = if exchange.status() == StatusCode::PARTIAL_CONTENT {
            content_range(exchange.header("content-range")).unwrap_or((self.offset, None))
        } else {
            let length = exchange.header("content-length");
            (0, length.and_then(|length| length.parse().ok()))
        };
        if let (Some(expected), Some(actual)) = (self.size, total)
            && expected != actual
        {
            return Err(RequestError::Size {
                host: exchange.host().to_owned(),
                what: self.what(),
                expected,
                actual,
            });
        }
        match self.offset.checked_sub(start) {
            Some(skip) => Ok(Answer {
                exchange,
                host,
                skip,
            }),
            None => Err(self.broken()),
        }
    }

    fn what(&self) -> String {
        format!(
            "blob {} of {}",
            self.digest,
            self.session.reference().familiar_name()
        )
    }

    fn too_large(&self, cap: u64) -> RequestError {
        RequestError::TooLarge {
            what: self.what(),
            cap,
        }
    }

    fn broken(&self) -> RequestError {
        RequestError::Broken {
            host: self.session.reference().registry().to_owned(),
            what: self.what(),
            source: None,
        }
    }
}

/// Reads `bytes 5-9/10` as the first byte and the total, which may be `*`.
fn content_range(value: Option<&str>) -> Option<(u64, Option<u64>)> {
    let (range, total) = value?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range(Some("bytes 5-9/10")), Some((5, Some(10))));
        assert_eq!(content_range(Some("bytes 0-0/*")), Some((0, None)));
        for bad in ["bytes */10", "5-9/10", "bytes -5-9/10", "bytes 5-9", ""] {
            assert_eq!(content_range(Some(bad)), None, "{bad}");
        }
    }
}
