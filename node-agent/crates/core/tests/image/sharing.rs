//! Pulls that share their work, and callers that go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_core::image::{LayerPhase, PullEvent};

use crate::made::{Image, Layer, Wrap};
use crate::node::Node;
use crate::support::scripted::{Request, Scripted};

fn layer_requests(image: &Image, requests: &[Request]) -> usize {
    requests
        .iter()
        .filter(|request| image.is_layer(request))
        .count()
}

#[tokio::test]
async fn two_pulls_of_one_image_share_the_work() {
    let image = Image::small("shared");
    let served = image.clone();
    let server = Scripted::start(move |request, _| served.serve(request)).await;
    let node = Node::new();
    let name = format!("{}/shared", server.address);
    let pulls: Vec<_> = (0..5).map(|_| node.start(&name)).collect();
    for pull in pulls {
        let pulled = pull.done.await.unwrap();
        assert_eq!(pulled.image.id.0, image.id());
    }
    // HEAD and GET of the manifest, the config and the layer: once each.
    assert_eq!(server.requests().len(), 4, "{:?}", server.requests());
}

#[tokio::test]
async fn images_with_a_layer_in_common_fetch_it_once() {
    let common = Layer::of(&[("common", b"common")], Wrap::Gzip);
    let images = [
        Image::of(vec![common.clone()]),
        Image::of(vec![common.clone(), Layer::of(&[("a", b"a")], Wrap::Gzip)]),
        // The same blob on top of another layer: another layer, the same fetch.
        Image::of(vec![Layer::of(&[("b", b"b")], Wrap::Gzip), common.clone()]),
        Image::of(vec![common.clone(), common.clone()]),
    ];
    let served = images.clone();
    let server = Scripted::start(move |request, _| {
        let number = request
            .path
            .split('/')
            .nth(2)
            .unwrap()
            .strip_prefix("image")
            .unwrap();
        let number: usize = number.parse().unwrap();
        served[number].serve(request)
    })
    .await;
    let node = Node::new();
    let pulls: Vec<_> = (0..4)
        .map(|n| node.start(&format!("{}/image{n}", server.address)))
        .collect();
    for (pull, image) in pulls.into_iter().zip(&images) {
        let pulled = pull.done.await.unwrap();
        assert_eq!(pulled.image.id.0, image.id());
        assert_eq!(node.file(&pulled.image, "common").unwrap(), b"common");
    }
    let only_common = Image::of(vec![common]);
    assert_eq!(layer_requests(&only_common, &server.requests()), 1);
}

/// Serves `image`, but lets layers hang after their first bytes while the switch is on.
async fn hanging(image: &Image) -> (Scripted, Arc<AtomicBool>) {
    let hangs = Arc::new(AtomicBool::new(true));
    let (image, switch) = (image.clone(), Arc::clone(&hangs));
    let server = Scripted::start(move |request, _| {
        let mut reply = image.serve(request);
        if image.is_layer(request) && switch.load(Ordering::SeqCst) {
            let length = reply.body.len().to_string();
            reply.body.truncate(10);
            reply = reply.header("Content-Length", length);
        }
        reply
    })
    .await;
    (server, hangs)
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_end_the_pull_of_another() {
    let image = Image::small("kept going");
    let (server, hangs) = hanging(&image).await;
    let node = Node::new();
    let name = format!("{}/hangs", server.address);
    let mut first = node.start(&name);
    let second = node.start(&name);
    while !fetching(&mut first.events).await {}
    drop(first);
    drop(second);
    // Nobody is left: cancelled, and what had arrived stays for the next one.
    hangs.store(false, Ordering::SeqCst);
    let before = server.requests().len();
    let pulled = node.pull(&name).await.unwrap();
    assert_eq!(node.file(&pulled.image, "hello").unwrap(), b"kept going");
    let asked = server.requests().split_off(before);
    let starts: Vec<_> = asked
        .iter()
        .filter(|request| image.is_layer(request))
        .map(Request::range_start)
        .collect();
    assert_eq!(starts, [Some(10)]);
}

/// Waits for an event; true if it says that bytes of a layer have arrived.
async fn fetching(events: &mut agent_core::image::PullEvents) -> bool {
    match events.next().await.unwrap() {
        PullEvent::Layer(layer) => layer.phase == LayerPhase::Fetching && layer.current > 0,
        PullEvent::Status(_) => false,
    }
}

#[tokio::test]
async fn one_who_stays_gets_the_image() {
    let image = Image::small("stays");
    let served = image.clone();
    let server = Scripted::start(move |request, _| served.serve(request)).await;
    let node = Node::new();
    let name = format!("{}/stays", server.address);
    let (leaves, stays) = (node.start(&name), node.start(&name));
    drop(leaves);
    assert_eq!(stays.done.await.unwrap().image.id.0, image.id());
}
