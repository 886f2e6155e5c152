//! The aggregator's program as a child process, in the cluster of the edge tests.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll_process::shutdown::Shutdown;
use plimsoll_sandbox::api::{ApiServer, Resource};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::super::harness::{Addresses, Harness, SYSTEM, agent_pod, cluster};

/// Nodes that report. Those after the first two are only here.
pub(super) const NODES: [&str; 8] = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];

/// A cluster with the program in it.
pub(super) struct Process {
    pub(super) harness: Harness,
    id: u32,
    _folder: TempDir,
}

impl Process {
    /// Starts it, and waits until it accepts reports.
    pub(super) async fn start() -> Process {
        let api = cluster().await;
        for node in &NODES[2..] {
            api.store().create(&Resource::NODES, json!({"metadata": {"name": node}})).unwrap();
            api.store().create(&Resource::PODS, agent_pod(&format!("agent-{node}"), node)).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let (addresses, child) = spawn(&api, &folder);
        let id = child.id();
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(child, shutdown.clone()));
        while TcpStream::connect(addresses.plain).await.is_err() {
            assert!(!running.is_finished(), "it ended at once");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let harness = Harness::of(api, addresses, shutdown, running);
        harness.ready().await;
        Process { harness, id, _folder: folder }
    }

    /// Resident memory in KiB.
    pub(super) fn resident(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn spawn(api: &ApiServer, folder: &TempDir) -> (Addresses, Child) {
    let token = api.token_for(SYSTEM, "plimsoll-aggregator", None, &[], Duration::from_secs(3600));
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig().replace(&api.admin_token(), &token)).unwrap();
    let [plain, agents, probes] = free_addresses();
    let child = Command::new(env!("CARGO_BIN_EXE_plimsoll-aggregator"))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args([("--listen", plain), ("--listen-agents", agents), ("--listen-probes", probes)].map(flag))
        .args(["--log-filter=warn"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (Addresses { plain, agents, probes }, child)
}

fn flag((name, address): (&str, SocketAddr)) -> String {
    format!("{name}={address}")
}

/// Ports that were free a moment ago.
fn free_addresses() -> [SocketAddr; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// The child until the shutdown, or until this is dropped.
async fn run(child: Child, shutdown: Shutdown) -> anyhow::Result<()> {
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ended = self.0.kill();
            let _reaped = self.0.wait();
        }
    }
    let mut child = Killed(child);
    loop {
        if let Some(status) = child.0.try_wait()? {
            anyhow::bail!("the aggregator ended: {status}");
        }
        tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}
