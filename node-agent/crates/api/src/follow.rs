//! Events on their way to one reader.

use std::sync::Arc;

use agent_core::event::Event;
use futures_util::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

/// Returns what `show` makes of each event, until the reader leaves. One that is too slow is cut
/// off: nobody waits for it, and what it missed it can only learn by listing.
pub(crate) fn follow<T, I>(
    mut heard: Receiver<Arc<Event>>,
    show: impl Fn(&Event) -> I + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    T: Send + 'static,
    I: IntoIterator<Item = T> + Send + 'static,
    I::IntoIter: Send,
{
    async_stream::try_stream! {
        loop {
            match heard.recv().await {
                Ok(event) => for one in show(&event) {
                    yield one;
                },
                Err(RecvError::Lagged(missed)) => {
                    Err(Status::resource_exhausted(format!("reader is too slow, {missed} events were missed")))?;
                }
                Err(RecvError::Closed) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_core::event::{Action, CAPACITY, EventBus, Subject};
    use agent_core::time::Timestamp;
    use futures_util::StreamExt as _;

    fn tell(bus: &EventBus, number: usize) {
        bus.tell(Event {
            time: Timestamp::now(),
            subject: Subject::Image,
            action: Action::Tag,
            id: number.to_string(),
            owner: None,
            attributes: Vec::new(),
            sandbox: None,
        });
    }

    #[tokio::test]
    async fn a_reader_hears_everything_in_order_and_a_slow_one_is_cut_off() {
        let bus = EventBus::default();
        let show = |event: &Event| Some(event.id.clone());
        let mut quick = Box::pin(follow(bus.listen(), show));
        let mut slow = Box::pin(follow(bus.listen(), show));
        for number in 0..=CAPACITY {
            // Telling never waits, whoever does not read.
            tell(&bus, number);
            assert_eq!(quick.next().await.unwrap().unwrap(), number.to_string());
        }
        let cut = slow.next().await.unwrap().unwrap_err();
        assert_eq!(cut.code(), tonic::Code::ResourceExhausted);
        assert_eq!(cut.message(), "reader is too slow, 1 events were missed");
        assert!(slow.next().await.is_none());
    }

    #[tokio::test]
    async fn an_event_may_be_shown_as_none_or_several() {
        let bus = EventBus::default();
        let show = |event: &Event| vec![event.id.clone(); event.id.parse().unwrap_or_default()];
        let mut reader = Box::pin(follow(bus.listen(), show));
        for number in [0, 2, 0, 1] {
            tell(&bus, number);
        }
        for wanted in ["2", "2", "1"] {
            assert_eq!(reader.next().await.unwrap().unwrap(), wanted);
        }
    }
}
