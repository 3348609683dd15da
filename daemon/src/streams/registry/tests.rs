use serde_json::value::RawValue;
use tokio_test::assert_pending;

use super::*;
use crate::{JobId, JobState};

fn status(job: usize, length: usize) -> JobStatus {
    let mut status = JobStatus::new(JobId::new(job.to_string()).unwrap(), JobState::Done);
    status.result = Some(RawValue::from_string(format!("\"{}\"", "x".repeat(length))).unwrap());
    status
}

async fn next(reader: &mut Reader) -> String {
    let part = reader.next(&CancellationToken::new()).await.unwrap();
    String::from_utf8(part.to_vec()).unwrap()
}

async fn is_idle(reader: &mut Reader) -> bool {
    tokio_test::task::spawn(reader.next(&CancellationToken::new())).poll().is_pending()
}

#[tokio::test(start_paused = true)]
async fn slow_reader_holds_a_bounded_size_and_is_reset() {
    let streams = Streams::new(9);
    let mut slow = streams.open(Owner::ANONYMOUS, None, None).unwrap();
    assert!(next(&mut slow).await.starts_with("id: "));
    let events = MAX_BYTES / 32_000 + 10;
    for job in 0..events {
        streams.publish(Owner::ANONYMOUS, Some("a"), &status(job, 32_000));
    }
    {
        let locked = streams.locked();
        assert!(locked.bytes <= MAX_BYTES && locked.bytes > MAX_BYTES - 33_000, "{}", locked.bytes);
        let kept: usize = locked.channels.values().map(Channel::size).sum();
        assert_eq!((kept, locked.order.len() < events), (locked.bytes, true));
    }
    assert!(next(&mut slow).await.contains(&format!("-{}\nevent: reset\n", events + 1)));
    assert!(is_idle(&mut slow).await);
    streams.publish(Owner::ANONYMOUS, None, &status(7, 1));
    assert!(next(&mut slow).await.contains("event: job\n"));
    assert_eq!((streams.events.get(), streams.resets.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn heartbeat_comes_after_15_s_of_silence() {
    let streams = Streams::new(9);
    let mut reader = streams.open(Owner::ANONYMOUS, Some("a"), None).unwrap();
    next(&mut reader).await;
    let start = Instant::now();
    for beat in 1..=3 {
        assert_eq!(next(&mut reader).await, ":\n\n");
        assert_eq!(start.elapsed().as_secs(), beat * 15);
    }
}

#[tokio::test(start_paused = true)]
async fn unused_channel_is_kept_for_2_min() {
    let streams = Streams::new(9);
    let open = |last_id: Option<&str>| streams.open(Owner::ANONYMOUS, Some("a"), last_id).unwrap();
    assert!(streams.are_unused());
    let mut reader = open(None);
    let position = next(&mut reader).await.trim().strip_prefix("id: ").unwrap().to_owned();
    tokio::time::advance(KEPT * 3).await;
    streams.publish(Owner::ANONYMOUS, Some("a"), &status(1, 1));
    assert!(next(&mut reader).await.contains("event: job\n"));
    drop(reader);
    tokio::time::advance(KEPT - Duration::from_secs(1)).await;
    let mut reader = open(Some(&position));
    assert_eq!(next(&mut reader).await, format!("id: {position}\n\n"));
    assert!(next(&mut reader).await.contains("event: job\n"));
    drop(reader);
    tokio::time::advance(KEPT).await;
    streams.publish(Owner::ANONYMOUS, Some("a"), &status(2, 1));
    assert!(streams.are_unused());
    {
        let locked = streams.locked();
        assert_eq!((locked.bytes, locked.order.len()), (0, 0));
    }
    // Also for the second one that comes back.
    for _ in 0..2 {
        assert!(next(&mut open(Some(&position))).await.contains("event: reset\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn channels_and_readers_are_limited() {
    let streams = Streams::new(1);
    let reader = streams.open(Owner::ANONYMOUS, None, None).unwrap();
    assert!(streams.open(Owner::ANONYMOUS, None, None).is_none());
    drop(reader);
    for channel in 1..MAX_CHANNELS {
        assert!(streams.open(Owner::ANONYMOUS, Some(&channel.to_string()), None).is_some());
    }
    // The one that was unused for the longest time makes room.
    assert!(streams.open(Owner::ANONYMOUS, Some("x"), None).is_some());
    assert_eq!(streams.locked().channels.len(), MAX_CHANNELS);
    let streams = Streams::new(8);
    let own: Vec<_> = std::iter::from_fn(|| streams.open(Owner::ANONYMOUS, None, None)).collect();
    assert_eq!(own.len(), 6);
    assert!(streams.open(Owner::from_token(b"another"), None, None).is_some());
}

#[tokio::test(start_paused = true)]
async fn events_of_channels_that_are_gone_are_forgotten() {
    let streams = Streams::new(9);
    let mut idle = streams.open(Owner::ANONYMOUS, Some("idle"), None).unwrap();
    next(&mut idle).await;
    streams.publish(Owner::ANONYMOUS, Some("idle"), &status(0, 1));
    for round in 0..200 {
        let name = round.to_string();
        let _reader = streams.open(Owner::ANONYMOUS, Some(&name), None).unwrap();
        for job in 0..100 {
            streams.publish(Owner::ANONYMOUS, Some(&name), &status(job, 1));
        }
        tokio::time::advance(KEPT).await;
    }
    let entries = streams.locked().order.len();
    assert!(entries < 2_000, "{entries}");
}

#[tokio::test(start_paused = true)]
async fn end_comes_after_the_last_event() {
    let (streams, ended) = (Streams::new(1), CancellationToken::new());
    let mut reader = streams.open(Owner::ANONYMOUS, None, None).unwrap();
    next(&mut reader).await;
    let mut waiting = tokio_test::task::spawn(reader.next(&ended));
    assert_pending!(waiting.poll());
    streams.publish(Owner::ANONYMOUS, None, &status(1, 1));
    ended.cancel();
    assert!(waiting.await.is_some());
    assert_eq!(reader.next(&ended).await, None);
}

#[tokio::test(start_paused = true)]
async fn streams_end_while_changes_are_not_heard_and_continue_after_that() {
    let streams = Streams::new(9);
    let open = |last_id: Option<&str>| streams.open(Owner::ANONYMOUS, Some("a"), last_id).unwrap();
    let ended = CancellationToken::new();
    let mut reader = open(None);
    let position = next(&mut reader).await.trim().strip_prefix("id: ").unwrap().to_owned();
    let mut waiting = tokio_test::task::spawn(reader.next(&ended));
    assert_pending!(waiting.poll());
    streams.suspend();
    assert_eq!((waiting.await, streams.are_suspended()), (None, true));
    streams.publish(Owner::ANONYMOUS, Some("a"), &status(1, 1));
    streams.resume();
    assert!(!streams.are_suspended());
    let mut reader = open(Some(&position));
    assert_eq!(next(&mut reader).await, format!("id: {position}\n\n"));
    assert!(next(&mut reader).await.contains("event: job\n"));
    assert!(is_idle(&mut reader).await);
}
