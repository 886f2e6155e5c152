use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Shutdown;

#[tokio::test]
async fn a_trigger_reaches_clones_and_stays() {
    let shutdown = Shutdown::new();
    let clone = shutdown.clone();
    assert!(!clone.is_triggered());
    shutdown.trigger();
    clone.triggered().await;
    clone.triggered().await;
    assert!(shutdown.is_triggered() && clone.is_triggered());
}

/// Not a test of its own: the process that the next test sends signals to. It ends by itself after 20 s.
#[tokio::test]
#[ignore = "run by the_first_signal_drains_and_the_second_ends_the_process"]
async fn a_process_that_drains_for_ever() {
    let shutdown = Shutdown::on_signals().unwrap();
    println!("\nready");
    let drain = async {
        shutdown.triggered().await;
        println!("\ndraining");
        std::future::pending::<()>().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), drain).await;
}

#[test]
fn the_first_signal_drains_and_the_second_ends_the_process() {
    for (second, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shutdown::tests::a_process_that_drains_for_ever", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "ready"), "it starts");
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(lines.any(|line| line == "draining"), "the first signal triggers the shutdown");
        kill(pid, second).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{second}");
    }
}
