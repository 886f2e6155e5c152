use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

fn ours() -> Vec<String> {
    names(&["a.svc", "a.svc.cluster.local"])
}

fn fresh(at: Timestamp) -> Stored {
    Stored { current: Some(Certificate::make(&ours(), at).unwrap()), ..Stored::default() }
}

#[test]
fn a_new_certificate_is_kept_for_sixty_days_and_then_replaced_in_four_steps() {
    let mut stored = fresh(start());
    let old = stored.current.clone().unwrap();
    assert_eq!(stored.next_rotation(&ours(), start()), Rotation::Keep);
    assert_eq!(stored.next_rotation(&ours(), start() + 59 * DAY), Rotation::Keep);

    let renewal = start() + 61 * DAY;
    assert_eq!(stored.next_rotation(&ours(), renewal), Rotation::Prepare(ours()));
    let certificate = Certificate::make(&ours(), renewal).unwrap();
    stored.next = Some(Next { certificate: certificate.clone(), published: None });
    assert_eq!(
        stored.next_rotation(&ours(), renewal + DAY),
        Rotation::Keep,
        "not before both CAs are published"
    );
    assert!(stored.bundle().contains(old.ca.trim()) && stored.bundle().contains(certificate.ca.trim()));

    stored.next = Some(Next { certificate: certificate.clone(), published: Some(renewal) });
    let almost = renewal + OVERLAP - Duration::from_secs(1);
    assert_eq!(stored.next_rotation(&ours(), almost), Rotation::Keep);
    assert_eq!(stored.next_rotation(&ours(), renewal + OVERLAP), Rotation::Switch);

    let stored = stored.switched();
    assert_eq!(stored.current.as_ref(), Some(&certificate));
    assert!(stored.bundle().contains(old.ca.trim()), "another replica may still show the old leaf");
    assert_eq!(stored.next_rotation(&ours(), renewal + OVERLAP), Rotation::Keep);
}

#[test]
fn what_is_absent_broken_expired_or_mixed_up_is_replaced_at_once() {
    let replaces = |stored: &Stored, at: Timestamp, why: &str| match stored.next_rotation(&ours(), at) {
        Rotation::Replace(names, reason) => assert!(names == ours() && reason.contains(why), "{reason}"),
        step => panic!("{step:?}, {why}"),
    };
    replaces(&Stored::default(), start(), "none yet");
    replaces(&fresh(start()), start() + 91 * DAY, "would not accept");
    let (good, other) = (fresh(start()).current.unwrap(), fresh(start()).current.unwrap());
    let mixed = |certificate| Stored { current: Some(certificate), ..Stored::default() };
    replaces(&mixed(Certificate { key: other.key, ..good.clone() }), start(), "key");
    replaces(&mixed(Certificate { ca: other.ca, ..good.clone() }), start(), "would not accept");
    replaces(&mixed(Certificate { leaf: "garbage".into(), ..good }), start(), "PEM");
}

#[test]
fn other_names_are_added_so_that_two_replicas_agree() {
    let stored = fresh(start());
    let wanted = names(&["b.svc"]);
    let Rotation::Replace(all, _) = stored.next_rotation(&wanted, start()) else {
        panic!("must be replaced")
    };
    assert_eq!(all, names(&["b.svc", "a.svc", "a.svc.cluster.local"]));
    let stored = Stored { current: Some(Certificate::make(&all, start()).unwrap()), ..Stored::default() };
    assert_eq!(stored.next_rotation(&wanted, start()), Rotation::Keep);
    assert_eq!(stored.next_rotation(&ours(), start()), Rotation::Keep);
}

#[test]
fn however_many_names_are_asked_for_the_certificate_is_made_anew_once() {
    let many: Vec<_> = (0..20).map(|n| format!("n{n}.svc")).collect();
    let Rotation::Replace(all, _) = fresh(start()).next_rotation(&many, start()) else {
        panic!("must be replaced")
    };
    let stored = Stored { current: Some(Certificate::make(&all, start()).unwrap()), ..Stored::default() };
    assert_eq!(stored.next_rotation(&many, start()), Rotation::Keep);
}

#[test]
fn a_next_certificate_that_is_broken_is_made_again_and_an_unpublished_one_serves_in_need() {
    let mut stored = fresh(start());
    let late = start() + 89 * DAY + DAY / 2;
    let broken = Certificate { leaf: String::new(), key: String::new(), ca: String::new() };
    stored.next = Some(Next { certificate: broken, published: None });
    assert_eq!(stored.next_rotation(&ours(), start() + 61 * DAY), Rotation::Prepare(ours()));
    let certificate = Certificate::make(&ours(), late).unwrap();
    stored.next = Some(Next { certificate, published: None });
    assert_eq!(stored.next_rotation(&ours(), late), Rotation::Switch);
}

#[test]
fn the_secret_reads_back_and_keys_of_others_stay() {
    let mut stored = fresh(start());
    let certificate = Certificate::make(&ours(), start()).unwrap();
    stored.next = Some(Next { certificate, published: Some(start()) });
    stored.previous_ca = Some("old".to_owned());
    let mut data = BTreeMap::from([("note".to_owned(), ByteString(b"mine".to_vec()))]);
    stored.write(&mut data);
    assert_eq!(Stored::read(&data), stored);
    let stored = stored.switched();
    stored.write(&mut data);
    assert_eq!(Stored::read(&data), stored);
    assert!(data.contains_key("note") && !data.keys().any(|key| key.starts_with(NEXT)));
}
