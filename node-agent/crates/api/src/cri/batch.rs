//! Lists in several messages, for nodes that have more than one message holds.

use futures_util::stream;
use prost::Message;
use tonic::{Response, Status};

use super::runtime::Streamed;

/// Bytes after which a message is full. What one object needs beside this is small, and the limit
/// of a message is sixteen times as much.
const FULL: usize = 1 << 20;

/// Returns the items in messages made by `wrap`, in their order; no message where there is none.
pub(super) fn batches<T, R>(items: Vec<T>, wrap: fn(Vec<T>) -> R) -> Response<Streamed<R>>
where
    T: Message + 'static,
    R: Send + 'static,
{
    let mut items = items.into_iter().peekable();
    let next = move || {
        items.peek()?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < FULL
            && let Some(item) = items.next()
        {
            bytes += item.encoded_len();
            batch.push(item);
        }
        Some(Ok::<_, Status>(wrap(batch)))
    };
    Response::new(Box::pin(stream::iter(std::iter::from_fn(next))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, TryStreamExt as _};
    use proto::cri;

    fn container(id: usize, bytes: usize) -> cri::Container {
        cri::Container {
            id: id.to_string(),
            image_ref: "x".repeat(bytes),
            ..cri::Container::default()
        }
    }

    fn wrap(containers: Vec<cri::Container>) -> cri::StreamContainersResponse {
        cri::StreamContainersResponse { containers }
    }

    #[tokio::test]
    async fn every_item_comes_once_and_no_message_is_too_large() {
        let items: Vec<_> = (0..5000).map(|id| container(id, 1000)).collect();
        let stream = batches(items, wrap).into_inner();
        let messages: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(messages.len(), 5);
        assert!(messages.iter().all(|one| one.encoded_len() < 2 * FULL));
        let ids = messages.iter().flat_map(|one| &one.containers);
        assert!(
            ids.map(|one| one.id.clone())
                .eq((0..5000).map(|id: i32| id.to_string()))
        );
    }

    #[tokio::test]
    async fn nothing_is_no_message() {
        assert!(
            batches(Vec::new(), wrap)
                .into_inner()
                .next()
                .await
                .is_none()
        );
    }
}
