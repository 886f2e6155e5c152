use super::*;

fn size(request: u64, limit: u64) -> Size {
    Size { request: Some(request), limit: Some(limit) }
}

fn change(to: Size) -> Change {
    Change { to, trigger: Trigger::RequestBelowUse, usage: 1 }
}

#[test]
fn a_change_says_by_how_much_from_what_to_what() {
    let words = |from, to| change(to).words(from, Resource::Cpu).to_string();
    assert_eq!(words(size(500, 500), size(890, 890)), "+390m (500->890)");
    assert_eq!(words(size(250, 500), size(350, 890)), "limit +390m (500->890), request +100m (250->350)");
    assert_eq!(words(size(250, 500), size(250, 400)), "limit -100m (500->400)");
    assert_eq!(words(size(250, 500), size(300, 500)), "request +50m (250->300)");
    let request = |request| Size { request: Some(request), limit: None };
    assert_eq!(words(request(250), request(300)), "+50m (250->300)");
}

#[test]
fn memory_is_in_binary_units() {
    let words = change(size(640 << 20, 1 << 30)).words(size(512 << 20, 1 << 30), Resource::Memory);
    assert_eq!(words.to_string(), "request +128Mi (512Mi->640Mi)");
}

#[test]
fn triggers_and_reasons_read_as_sentences_with_their_numbers() {
    assert_eq!(Trigger::Throttled(0.4).to_string(), "throttled in 40 % of the periods");
    assert_eq!(Trigger::Trend(12.3).to_string(), "memory reaches the limit in 12 s");
    let hold = Keep::Hold(Duration::from_secs(3540)).to_string();
    assert_eq!(hold, "could shrink, but needed more or changed too recently: may shrink in 59 min");
    assert_eq!(time(Duration::from_millis(2100)), "3 s");
    assert!(Keep::Window(Duration::from_secs(86_400)).to_string().ends_with("in 24 h"));
}
