//! Delivery: reports reach the aggregator, no one else sees the token, and failures do no harm.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use plimsoll_contract::rejection::RejectionBody;
use plimsoll_contract::{Band, Report, keys};
use plimsoll_process::crypto::install_crypto_provider;

use crate::harness::{HIGH, Harness, LOW, eventually};

mod peer;
mod sender;

use peer::{Answers, Peer};
use sender::{Sender, TOKEN};

const ROSTER: &str = r#"{"rosterVersion":1}"#;

fn answer(code: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::new(body.into())).unwrap()
}

fn accepts(_: usize) -> Response<Full<Bytes>> {
    answer(200, ROSTER)
}

#[tokio::test]
async fn only_a_server_with_a_trusted_certificate_sees_the_token() {
    install_crypto_provider();
    let (untrusted, misnamed, silent) = (
        Peer::tls("localhost", accepts).await,
        Peer::tls("elsewhere.example", accepts).await,
        Peer::silent().await,
    );
    let expected = Peer::tls("localhost", accepts).await;
    let to_untrusted = Sender::start(&untrusted, &expected.ca).await;
    let to_misnamed = Sender::start(&misnamed, &misnamed.ca).await;
    let to_silent = Sender::start(&silent, &silent.ca).await;
    to_untrusted.wait_for("untrusted", 2.0).await;
    to_misnamed.wait_for("untrusted", 2.0).await;
    to_silent.wait_for("untrusted", 1.0).await;
    for peer in [&untrusted, &misnamed] {
        let (succeeded, failed) = peer.handshakes();
        assert!(succeeded == 0 && failed >= 2, "{succeeded} {failed}");
        assert!(peer.requests().is_empty());
    }
    let received = silent.bytes();
    assert!(!received.is_empty() && !received.windows(TOKEN.len()).any(|bytes| bytes == TOKEN.as_bytes()));
    for sender in [to_untrusted, to_misnamed, to_silent] {
        sender.stop().await;
    }
}

#[tokio::test]
async fn delivery_starts_when_ca_and_token_exist() {
    install_crypto_provider();
    let peer = Peer::tls("localhost", accepts).await;
    let sender = Sender::without_credentials(&peer).await;
    sender.wait_for("not_ready", 1.0).await;
    sender.give_ca(&peer.ca);
    sender.wait_for("not_ready", 2.0).await;
    assert!(peer.requests().is_empty(), "no report without a token");
    sender.give_token(TOKEN);
    sender.wait_for("accepted", 1.0).await;
    let got = &peer.requests()[0];
    assert_eq!(got.authorization, format!("Bearer {TOKEN}"));
    assert!(got.report.full && got.report.node.as_str() == "n1" && got.report.roster_version == 0, "{got:?}");

    sender.give_token("renewed");
    let renewed = || peer.requests().iter().any(|got| got.authorization == "Bearer renewed");
    assert!(eventually(async || renewed()).await, "the token is read again for every report");
    assert!(peer.requests().iter().all(|got| got.report.roster_version <= 1));
    sender.stop().await;
}

#[tokio::test]
async fn a_retry_after_is_respected() {
    install_crypto_provider();
    let peer = Peer::tls("localhost", |count| match count {
        0 => Response::builder().status(503).header("retry-after", "4").body(Full::default()).unwrap(),
        _ => answer(200, ROSTER),
    });
    let peer = peer.await;
    let sender = Sender::start(&peer, &peer.ca).await;
    sender.wait_for("accepted", 1.0).await;
    assert_eq!((sender.ended("throttled").await, peer.requests().len()), (1.0, 2));
    let got = peer.requests();
    let pause = got[1].at - got[0].at;
    assert!(pause >= Duration::from_secs(4) && got[1].report.seq > got[0].report.seq, "{pause:?}");
    assert!(got[1].report.full, "the report after a failure is complete");
    sender.stop().await;
}

/// The first answer is invalid, the next a roster.
async fn recovers(result: &str, invalid: Answers) {
    let peer = Peer::tls("localhost", invalid).await;
    let sender = Sender::start(&peer, &peer.ca).await;
    sender.wait_for("accepted", 1.0).await;
    assert_eq!(sender.ended(result).await, 1.0, "{result}");
    sender.stop().await;
}

#[tokio::test]
async fn invalid_answers_are_counted_and_do_no_harm() {
    install_crypto_provider();
    tokio::join!(
        recovers("bad_answer", |n| if n == 0 { answer(200, "<html>hello</html>") } else { accepts(n) }),
        recovers("bad_answer", |n| if n == 0 { answer(200, r#"{"rosterVersion":"9"}"#) } else { accepts(n) }),
        recovers("unreachable", |n| if n == 0 { answer(200, vec![b' '; 9 << 20]) } else { accepts(n) }),
        recovers("refused", |n| if n == 0 { answer(418, vec![0xff; 100_000]) } else { accepts(n) }),
        recovers("refused", |n| if n == 0 { answer(307, "") } else { accepts(n) }),
    );
}

#[tokio::test]
async fn an_aggregator_that_returns_gets_only_a_current_report() {
    let mut harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    harness.cluster.stop_aggregator().await.unwrap();
    for (cores, band) in [(HIGH, Band::High), (LOW, Band::Low), (HIGH, Band::High)] {
        harness.set_load("web", cores);
        let follows = async || harness.agent_band("web").await == Some(band);
        harness.until("the agent to report the band", follows).await;
    }
    harness.cluster.restart_aggregator().await.unwrap();
    harness.labeled("web", "high").await;
    let accepted = harness.metric("plimsoll_aggregator_reports_total{result=\"accepted\"}").await;
    assert!((1.0..=3.0).contains(&accepted), "a queue would have sent more: {accepted}");
    harness.quiet().await;
    assert_eq!(harness.writes_on("web").len(), 2, "the bands in between are not delivered");
    harness.shutdown().await;
}

#[tokio::test]
async fn an_expired_token_is_rejected_counted_and_replaced_without_a_restart() {
    let harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    let file = harness.cluster.token_file();
    harness.cluster.api().set_token_clock_ahead(-3600);
    std::fs::write(&file, harness.token(Duration::from_secs(600))).unwrap();
    harness.cluster.api().set_token_clock_ahead(0);
    harness.set_load("web", HIGH);
    let rejected =
        async || harness.agent_metric("plimsoll_agent_reports_total{result=\"refused\"}").await >= 2.0;
    harness.until("the report to be rejected", rejected).await;
    let rejections = harness.metric("plimsoll_aggregator_refusals_total{reason=\"expired\"}").await;
    assert!(rejections >= 2.0, "{rejections}");
    assert_eq!(harness.keys("web")[keys::CPU_BAND], "low", "the report is ignored");
    std::fs::write(&file, harness.token(Duration::from_secs(600))).unwrap();
    harness.labeled("web", "high").await;
    harness.shutdown().await;
}

#[tokio::test]
async fn an_agent_with_an_old_sequence_number_continues_above_the_newest() {
    let harness = Harness::start().await;
    harness.create_pod("web", LOW);
    harness.labeled("web", "low").await;
    let report = harness.report().await;
    let ahead = report.seq + 3_600_000;
    let token = harness.token(Duration::from_secs(600));
    let post = async |report: &Report| harness.post(&token, serde_json::to_string(report).unwrap()).await;
    let newer = Report { seq: ahead, full: false, pods: Vec::new(), ..report.clone() };
    assert_eq!(post(&newer).await.code, 200);

    let mut older = report;
    older.pods[0].cpu.band = Band::High;
    let reply = post(&older).await;
    assert_eq!((reply.code, reply.json::<RejectionBody>().newest), (409, Some(ahead)));
    let rejections = "plimsoll_aggregator_refusals_total{reason=\"old_sequence\"}";
    let rejected = async || harness.metric(rejections).await >= 2.0;
    harness.until("the report to be rejected", rejected).await;
    harness.quiet().await;
    assert_eq!(harness.keys("web")[keys::CPU_BAND], "low", "an older report is ignored");

    harness.set_load("web", HIGH);
    harness.labeled("web", "high").await;
    assert!(harness.report().await.seq > ahead, "it continues above");
    assert_eq!(harness.metric(rejections).await, 2.0, "one rejection is enough");
    harness.shutdown().await;
}

#[tokio::test]
async fn an_agent_whose_clock_is_far_ahead_continues_from_where_it_is_told() {
    install_crypto_provider();
    let peer = Peer::tls("localhost", |count| match count {
        0 => {
            let body = RejectionBody {
                error: "report 1 is far ahead".into(),
                reason: "sequence_ahead".into(),
                newest: None,
                continue_from: Some(1_000_000),
            };
            answer(409, serde_json::to_vec(&body).unwrap())
        }
        _ => answer(200, r#"{"rosterVersion":1,"rosterProcess":"5f1d"}"#),
    });
    let peer = peer.await;
    let sender = Sender::start(&peer, &peer.ca).await;
    sender.wait_for("accepted", 2.0).await;
    let got = peer.requests();
    assert!(got[0].report.seq > 1_000_000, "its start time");
    assert_eq!((got[1].report.seq, got[1].report.roster_process.as_deref()), (1_000_001, None));
    assert_eq!((got[2].report.seq, got[2].report.roster_process.as_deref()), (1_000_002, Some("5f1d")));
    sender.stop().await;
}
