use std::net::Ipv4Addr;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};

use super::*;

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

fn table(max_connections: usize, max_connections_per_address: usize) -> Table {
    Table::new(&Limits { max_connections, max_connections_per_address, ..Limits::default() })
}

/// A connection in this stage.
fn connect(table: &mut Table, from: u8, stage: Stage) -> ConnectionId {
    let id = table.admit(address(from)).unwrap().id;
    if stage != Stage::Silent {
        table.spoke(id);
    }
    if matches!(stage, Stage::Idle | Stage::Sending | Stage::Busy) {
        table.begin_request(id).unwrap();
    }
    if matches!(stage, Stage::Idle | Stage::Sending) {
        table.send_response(id, true);
    }
    if stage == Stage::Idle {
        table.end_request(id);
    }
    id
}

fn closed_for(table: &mut Table, from: u8) -> Result<ConnectionId, Rejection> {
    table.admit(address(from)).map(|admitted| admitted.closed.expect("the port is full").0)
}

#[test]
fn silent_connections_make_room_first_and_those_with_a_request_never() {
    use Stage::{Busy, Idle, Sending, Silent, Unproven};
    let mut table = table(5, 5);
    let [busy, sending, idle, unproven, silent] =
        [Busy, Sending, Idle, Unproven, Silent].map(|stage| connect(&mut table, 1, stage));
    for expected in [silent, unproven, idle, sending] {
        let admitted = table.admit(address(1)).unwrap();
        assert_eq!(admitted.closed, Some((expected, Rejection::Address)));
        // The new one takes its place in the last stage.
        table.begin_request(admitted.id).unwrap();
    }
    assert_eq!(table.admit(address(1)), Err(Rejection::Address));
    assert!(table.contains(busy));
    table.end(busy);
    assert_eq!(table.admit(address(1)).unwrap().closed, None);
}

#[test]
fn an_address_at_its_cap_pays_for_its_own_connections_and_a_full_port_takes_from_the_address_with_most() {
    let mut table = table(6, 3);
    let other = connect(&mut table, 2, Stage::Silent);
    let own = [(); 3].map(|()| connect(&mut table, 1, Stage::Silent));
    assert_eq!(closed_for(&mut table, 1), Ok(own[0]), "not the older one of another address");
    connect(&mut table, 3, Stage::Unproven);
    connect(&mut table, 4, Stage::Idle);
    let admitted = table.admit(address(5)).unwrap();
    assert_eq!(admitted.closed, Some((own[1], Rejection::Full)), "address 1 has the most silent ones");
    assert!(table.contains(other));
}

#[test]
fn among_equal_addresses_the_oldest_connection_makes_room() {
    let mut table = table(3, 3);
    let first = [9, 1, 5].map(|from| connect(&mut table, from, Stage::Silent))[0];
    assert_eq!(closed_for(&mut table, 7), Ok(first));
}

#[test]
fn a_client_whose_requests_fail_stays_as_old_as_it_is_and_a_used_connection_becomes_young() {
    let mut table = table(10, 2);
    let failing = connect(&mut table, 1, Stage::Unproven);
    let waiting = connect(&mut table, 1, Stage::Unproven);
    table.begin_request(failing).unwrap();
    table.send_response(failing, false);
    table.end_request(failing);
    assert_eq!(closed_for(&mut table, 1), Ok(failing), "not the one that came after it");
    assert!(table.contains(waiting));

    let [early, late] = [(); 2].map(|()| connect(&mut table, 2, Stage::Idle));
    table.begin_request(early).unwrap();
    table.send_response(early, false);
    table.end_request(early);
    assert_eq!(closed_for(&mut table, 2), Ok(late), "one failure does not undo an earlier success");
}

#[test]
fn requests_have_caps_and_a_response_that_is_not_read_makes_room() {
    let limits = Limits { max_requests: 3, max_requests_per_address: 2, ..Limits::default() };
    let mut table = Table::new(&limits);
    let sending = connect(&mut table, 1, Stage::Sending);
    connect(&mut table, 1, Stage::Busy);
    let [third, fourth] = [(); 2].map(|()| connect(&mut table, 1, Stage::Unproven));
    assert_eq!(table.begin_request(third), Ok(Some(sending)));
    assert_eq!(table.begin_request(fourth), Err(Rejection::Requests), "both are being worked on");
    assert_eq!(table.begin_request(sending), Err(Rejection::Requests), "it is closed");
    connect(&mut table, 2, Stage::Busy);
    let last = connect(&mut table, 3, Stage::Unproven);
    assert_eq!(table.begin_request(last), Err(Rejection::Requests), "three are in flight");
    table.end_request(third);
    assert_eq!(table.begin_request(last), Ok(None));
}

/// What happens to the connections of a port.
#[derive(Debug, Clone)]
enum Event {
    Connect(u8),
    Spoke(usize),
    Begin(usize),
    Answer(usize, bool),
    EndRequest(usize),
    End(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one =
        (0..7_u8, 0..4_u8, any::<usize>(), any::<bool>()).prop_map(
            |(kind, from, which, success)| match kind {
                0 | 1 => Event::Connect(from),
                2 => Event::Spoke(which),
                3 => Event::Begin(which),
                4 => Event::Answer(which, success),
                5 => Event::EndRequest(which),
                _ => Event::End(which),
            },
        );
    vec(one, 0..200)
}

proptest! {
    #[test]
    fn no_cap_is_ever_exceeded_and_the_counts_agree_with_the_connections(events in events()) {
        let limits = Limits {
            max_connections: 6, max_connections_per_address: 4, max_requests: 4, max_requests_per_address: 3,
            ..Limits::default()
        };
        let mut table = Table::new(&limits);
        let mut ids = vec![0];
        for event in events {
            let id = |which: usize| ids[which % ids.len()];
            match event {
                Event::Connect(from) => ids.extend(table.admit(address(from)).map(|admitted| admitted.id)),
                Event::Spoke(which) => table.spoke(id(which)),
                Event::Begin(which) => drop(table.begin_request(id(which))),
                Event::Answer(which, success) => table.send_response(id(which), success),
                Event::EndRequest(which) => table.end_request(id(which)),
                Event::End(which) => table.end(id(which)),
            }
            assert_consistent(&table, &limits);
        }
        for id in ids {
            table.end(id);
        }
        assert_eq!((table.len(), table.addresses.len(), table.requests), (0, 0, 0));
    }
}

fn assert_consistent(table: &Table, limits: &Limits) {
    assert!(table.len() <= limits.max_connections);
    let in_flight = |address: Option<IpAddr>| {
        let of = |connection: &&Connection| address.is_none_or(|address| connection.address == address);
        table.connections.values().filter(of).filter(|connection| connection.stage.is_in_flight()).count()
    };
    assert_eq!(in_flight(None), table.requests);
    for (address, counts) in &table.addresses {
        let open = table.connections.values().filter(|connection| connection.address == *address).count();
        assert_eq!((open, in_flight(Some(*address))), (counts.connections, counts.requests));
        assert!(open <= limits.max_connections_per_address);
    }
    let mut closable: Vec<_> = Stage::CLOSABLE.iter().map(|stage| (*stage, 0)).collect();
    for connection in table.connections.values() {
        if let Some((_, count)) = closable.iter_mut().find(|(stage, _)| *stage == connection.stage) {
            *count += 1;
        }
    }
    let queued: Vec<_> = Stage::CLOSABLE.into_iter().zip(table.queues.iter().map(Queue::len)).collect();
    assert_eq!(queued, closable);
}
