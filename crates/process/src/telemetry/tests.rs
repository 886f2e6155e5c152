use clap::Parser;

use super::{Captured, LogFormat, TelemetryArgs};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

fn parse(flags: &[&str]) -> Result<TelemetryArgs, String> {
    let words = ["program"].iter().chain(flags);
    Program::try_parse_from(words).map(|program| program.telemetry).map_err(|error| error.to_string())
}

/// What is written when `log` runs.
fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
    let captured = Captured::default();
    let args = TelemetryArgs { log_format: format, log_filter: filter.to_owned() };
    let subscriber = args.subscriber(captured.clone(), false).unwrap();
    tracing::subscriber::with_default(subscriber, log);
    captured.text()
}

#[test]
fn the_defaults_are_json_and_info() {
    let args = parse(&[]).unwrap();
    assert_eq!((args.log_format, args.log_filter.as_str()), (LogFormat::Json, "info"));
}

#[test]
fn both_formats_are_selected_by_the_flag() {
    assert_eq!(parse(&["--log-format", "text"]).unwrap().log_format, LogFormat::Text);
    assert_eq!(parse(&["--log-format", "json"]).unwrap().log_format, LogFormat::Json);
    let error = parse(&["--log-format", "xml"]).unwrap_err().to_string();
    assert!(error.contains("xml") && error.contains("json"), "{error}");
}

#[test]
fn a_bad_filter_is_an_error_that_names_the_flag() {
    for bad in ["inof", "", "debug,,info", "hyper=loud", "a[b=info", "warn,plimsoll"] {
        let error = parse(&["--log-filter", bad]).unwrap_err();
        assert!(error.contains("--log-filter"), "{bad}: {error}");
    }
}

#[test]
fn levels_and_levels_by_target_are_valid_filters() {
    for good in ["info", "WARN", "off", "info,hyper=warn", "error,a::b=debug", "info,[task{name=x}]=trace"] {
        assert!(parse(&["--log-filter", good]).is_ok(), "{good}");
    }
}

#[test]
fn a_filter_that_clap_did_not_parse_names_the_flag_too() {
    let args = TelemetryArgs { log_filter: "inof".to_owned(), ..TelemetryArgs::default() };
    assert!(args.install().unwrap_err().to_string().contains("--log-filter"));
}

#[test]
fn an_event_is_one_json_object_with_its_fields_and_its_span() {
    let line = logged(LogFormat::Json, "info", || {
        let _in_task = tracing::info_span!("task", task = "reader").entered();
        tracing::info!(pod = "web", "band changed");
        tracing::debug!("not this one");
    });
    let event: serde_json::Value = serde_json::from_str(&line).expect("exactly one line of JSON");
    assert_eq!(event["message"], "band changed");
    assert_eq!(event["pod"], "web");
    assert_eq!(event["span"]["task"], "reader");
}

#[test]
fn outside_text_cannot_forge_a_line_or_control_a_terminal() {
    let hostile = "web\n{\"level\":\"ERROR\"}\r\x1b[2J\x07";
    for format in [LogFormat::Json, LogFormat::Text] {
        let text = logged(format, "info", || {
            let _in_span = tracing::info_span!("span", display = %hostile).entered();
            tracing::info!(display = %hostile, debug = ?hostile, text = hostile, "hostile {hostile}");
        });
        let line = text.strip_suffix('\n').expect("a line ends");
        assert!(line.contains("hostile"), "{format}: {line:?}");
        assert!(!line.chars().any(char::is_control), "{format}: {line:?}");
    }
}

#[test]
fn a_text_line_has_its_level_message_and_fields() {
    let line = logged(LogFormat::Text, "info", || {
        tracing::info!(pod = "web", took_ms = 3, error = %"no \u{9b}31m such pod", "band changed");
    });
    let end = " band changed pod=\"web\" took_ms=3 error=no \\u{9b}31m such pod\n";
    assert!(line.contains(" INFO ") && line.ends_with(end), "{line:?}");
}

#[test]
fn no_filter_makes_the_kubernetes_client_log_bodies() {
    for filter in ["trace", "kube_client=trace", "off,kube_client::client=trace,telemetry=warn"] {
        let text = logged(LogFormat::Json, filter, || {
            tracing::warn!(target: "kube_client::client", "the body");
            tracing::error!(target: "kube_client::client::builder", "failed with status 500");
        });
        assert!(!text.contains("the body"), "{filter}: {text}");
        assert!(text.contains("status 500"), "{filter}: {text}");
    }
}
