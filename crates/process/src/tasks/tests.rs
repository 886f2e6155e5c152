use std::future::pending;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::Tasks;
use crate::shutdown::Shutdown;

const GRACE: Duration = Duration::from_secs(5);

/// Tasks with one that runs until the shutdown and then ends.
fn tasks() -> (Tasks, Shutdown) {
    let shutdown = Shutdown::new();
    let mut tasks = Tasks::new(shutdown.clone());
    let stop = shutdown.clone();
    tasks.spawn("steady", async move {
        stop.triggered().await;
        Ok(())
    });
    (tasks, shutdown)
}

async fn join(tasks: Tasks) -> String {
    format!("{:#}", tasks.join(GRACE).await.expect_err("it is an error"))
}

#[tokio::test(start_paused = true)]
async fn tasks_that_end_after_the_shutdown_are_no_error() {
    let (tasks, shutdown) = tasks();
    tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        shutdown.trigger();
    });
    let start = Instant::now();
    tasks.join(GRACE).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 60, "it waits for the shutdown, not for the grace period");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_early_is_named_and_triggers_the_shutdown() {
    let (mut tasks, shutdown) = tasks();
    tasks.spawn("reader", async { bail!("disk gone") });
    assert_eq!(join(tasks).await, "task reader failed: disk gone");
    assert!(shutdown.is_triggered());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_quietly_but_early_is_an_error_too() {
    let (mut tasks, _shutdown) = tasks();
    tasks.spawn("reader", async { Ok(()) });
    assert_eq!(join(tasks).await, "task reader ended before the shutdown");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_named_with_its_message() {
    let (mut tasks, _shutdown) = tasks();
    tasks.spawn("reader", async { panic!("index {}", 7) });
    assert_eq!(join(tasks).await, "task reader failed: panicked: index 7");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_while_stopping_is_an_error() {
    let (mut tasks, shutdown) = tasks();
    let stop = shutdown.clone();
    tasks.spawn("writer", async move {
        stop.triggered().await;
        bail!("cannot flush")
    });
    shutdown.trigger();
    assert_eq!(join(tasks).await, "task writer failed while stopping: cannot flush");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_outlive_the_grace_are_named_and_aborted() {
    let (mut tasks, shutdown) = tasks();
    let alive = std::sync::Arc::new(());
    for name in ["stuck", "lost"] {
        let held = alive.clone();
        tasks.spawn(name, async move {
            pending::<()>().await;
            drop(held);
            Ok(())
        });
    }
    shutdown.trigger();
    let start = Instant::now();
    assert_eq!(join(tasks).await, "aborted what did not stop within 5s: lost, stuck");
    assert_eq!(start.elapsed(), GRACE);
    assert_eq!(std::sync::Arc::strong_count(&alive), 1, "what they owned is dropped");
}

#[tokio::test(start_paused = true)]
async fn an_early_end_and_an_aborted_task_are_both_reported() {
    let (mut tasks, _shutdown) = tasks();
    tasks.spawn("reader", async { bail!("disk gone") });
    tasks.spawn("stuck", pending());
    assert_eq!(
        join(tasks).await,
        "task reader failed: disk gone; aborted what did not stop within 5s: stuck"
    );
}

#[tokio::test(start_paused = true)]
async fn join_returns_at_once_without_tasks() {
    Tasks::new(Shutdown::new()).join(GRACE).await.unwrap();
}
