//! Delivery: reports reach whom they are for, nobody else learns our token, and nothing that happens on the way does harm.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use plimsoll_contract::roster::Complaint;
use plimsoll_contract::{Band, Report, keys};
use plimsoll_process::crypto::install_crypto_provider;

use crate::world::{HIGH, LOW, World, eventually};

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
async fn nobody_but_the_holder_of_the_right_certificate_sees_the_token() {
    install_crypto_provider();
    let (stranger, misnamed, deaf) = (
        Peer::tls("localhost", accepts).await,
        Peer::tls("elsewhere.example", accepts).await,
        Peer::deaf().await,
    );
    let expected = Peer::tls("localhost", accepts).await;
    let to_stranger = Sender::start(&stranger, &expected.ca).await;
    let to_misnamed = Sender::start(&misnamed, &misnamed.ca).await;
    let to_deaf = Sender::start(&deaf, &deaf.ca).await;
    to_stranger.wait_for("untrusted", 2.0).await;
    to_misnamed.wait_for("untrusted", 2.0).await;
    to_deaf.wait_for("untrusted", 1.0).await;
    for peer in [&stranger, &misnamed] {
        let (succeeded, failed) = peer.handshakes();
        assert!(succeeded == 0 && failed >= 2, "{succeeded} {failed}");
        assert!(peer.requests().is_empty());
    }
    let heard = deaf.bytes();
    assert!(!heard.is_empty() && !heard.windows(TOKEN.len()).any(|bytes| bytes == TOKEN.as_bytes()));
    for sender in [to_stranger, to_misnamed, to_deaf] {
        sender.end().await;
    }
}

#[tokio::test]
async fn delivery_begins_by_itself_once_ca_and_token_are_there() {
    install_crypto_provider();
    let peer = Peer::tls("localhost", accepts).await;
    let sender = Sender::with_empty_hands(&peer).await;
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
    sender.end().await;
}

#[tokio::test]
async fn a_peer_that_asks_for_time_gets_it() {
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
    assert!(got[1].report.full, "what comes after a failure holds everything");
    sender.end().await;
}

/// The first answer is odd, the next a roster.
async fn recovers(result: &str, odd: Answers) {
    let peer = Peer::tls("localhost", odd).await;
    let sender = Sender::start(&peer, &peer.ca).await;
    sender.wait_for("accepted", 1.0).await;
    assert_eq!(sender.ended(result).await, 1.0, "{result}");
    sender.end().await;
}

#[tokio::test]
async fn answers_that_are_no_roster_are_counted_and_break_nothing() {
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
async fn an_aggregator_that_was_away_gets_one_report_of_now_and_nothing_of_before() {
    let mut world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    world.stage.stop_aggregator().await.unwrap();
    for (cores, band) in [(HIGH, Band::High), (LOW, Band::Low), (HIGH, Band::High)] {
        world.load("web", cores);
        let follows = async || world.announced("web").await == Some(band);
        world.until("the agent to follow alone", follows).await;
    }
    world.stage.restart_aggregator().await.unwrap();
    world.labeled("web", "high").await;
    let accepted = world.counted("plimsoll_aggregator_reports_total{result=\"accepted\"}").await;
    assert!((1.0..=3.0).contains(&accepted), "a queue would have sent more: {accepted}");
    world.quiet().await;
    assert_eq!(world.writes_on("web").len(), 2, "the bands in between are history");
    world.end().await;
}

#[tokio::test]
async fn an_expired_token_is_refused_told_and_replaced_without_a_restart() {
    let world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    let file = world.stage.token_file();
    std::fs::write(&file, world.token(Duration::ZERO)).unwrap();
    world.load("web", HIGH);
    let refused =
        async || world.counted_by_agent("plimsoll_agent_reports_total{result=\"refused\"}").await >= 2.0;
    world.until("the agent to be refused", refused).await;
    let reasons = ["expired", "not_authenticated"]
        .map(|word| format!("plimsoll_aggregator_refusals_total{{reason=\"{word}\"}}"));
    let told = world.counted(&reasons[0]).await + world.counted(&reasons[1]).await;
    assert!(told >= 2.0, "{told}");
    assert_eq!(world.keys("web")[keys::CPU_BAND], "low", "nothing is believed of it");
    std::fs::write(&file, world.token(Duration::from_secs(600))).unwrap();
    world.labeled("web", "high").await;
    world.end().await;
}

#[tokio::test]
async fn an_agent_whose_sequence_is_behind_is_told_so_and_goes_on_above() {
    let world = World::start().await;
    world.run("web", LOW);
    world.labeled("web", "low").await;
    let report = world.report().await;
    let ahead = report.seq + (1 << 40);
    let token = world.token(Duration::from_secs(600));
    let post = async |report: &Report| world.post(&token, serde_json::to_string(report).unwrap()).await;
    let newer = Report { seq: ahead, full: false, pods: Vec::new(), ..report.clone() };
    assert_eq!(post(&newer).await.code, 200);

    let mut older = report;
    older.pods[0].cpu.band = Band::High;
    let reply = post(&older).await;
    assert_eq!((reply.code, reply.json::<Complaint>().newest), (409, Some(ahead)));
    let refusals = "plimsoll_aggregator_refusals_total{reason=\"old_sequence\"}";
    let refused = async || world.counted(refusals).await >= 2.0;
    world.until("the agent to be refused", refused).await;
    world.quiet().await;
    assert_eq!(world.keys("web")[keys::CPU_BAND], "low", "nothing is believed of what is older");

    world.load("web", HIGH);
    world.labeled("web", "high").await;
    assert!(world.report().await.seq > ahead, "it went on above");
    assert_eq!(world.counted(refusals).await, 2.0, "the agent needs to be told once");
    world.end().await;
}
