//! The flags and variables in the manifests are those of the programs.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use super::files::{find, list, objects, sources, text};

const CONTAINER: &str = "/spec/template/spec/containers/0";

fn arguments(workload: &Value) -> Vec<String> {
    let typed = list(workload, &format!("{CONTAINER}/args")).iter().filter_map(Value::as_str);
    std::iter::once("program").chain(typed).map(str::to_owned).collect()
}

fn assert_variables_are_known(workload: &Value, command: &clap::Command) {
    let known: BTreeSet<_> = command.get_arguments().filter_map(|a| a.get_env()?.to_str()).collect();
    for variable in list(workload, &format!("{CONTAINER}/env")) {
        let name = text(variable, "/name");
        assert!(known.contains(name), "{name} is none of {known:?}");
        if variable.get("value").is_some() {
            let flag = command.get_arguments().find(|a| a.get_env().is_some_and(|e| e == name)).unwrap();
            let typed = format!("--{}={}", flag.get_long().unwrap(), text(variable, "/value"));
            command.clone().try_get_matches_from(["program", &typed]).unwrap();
        }
    }
}

#[test]
fn the_agent_accepts_the_flags_of_its_manifest() {
    let base = objects("base");
    let agent = find(&base, "DaemonSet", "plimsoll-agent");
    let args = plimsoll_agent::args::Args::try_parse_from(arguments(agent)).unwrap();
    assert_eq!((args.listen.port(), args.listen_probes.port()), (9617, 9616));
    let aggregator = args.aggregator.unwrap();
    assert_eq!(
        (aggregator.host.as_str(), aggregator.port),
        ("plimsoll-aggregator.plimsoll-system.svc", 9618)
    );
    let mounts = list(agent, &format!("{CONTAINER}/volumeMounts"));
    let mounted = |path: &str| mounts.iter().any(|mount| text(mount, "/mountPath") == path);
    assert!(mounted(args.host_root.join("sys/fs/cgroup").to_str().unwrap()));
    assert!(mounted(args.ca_file.to_str().unwrap()));
    assert!(mounted(args.token_file.parent().unwrap().to_str().unwrap()));
    assert_variables_are_known(agent, &plimsoll_agent::args::Args::command());
}

#[test]
fn the_aggregator_accepts_the_flags_of_its_manifest_and_of_the_components_that_write() {
    let base = objects("base");
    let aggregator = find(&base, "Deployment", "plimsoll-aggregator");
    let args = plimsoll_aggregator::args::Args::try_parse_from(arguments(aggregator)).unwrap();
    let ports = [args.listen, args.listen_agents, args.listen_probes].map(|address| address.port());
    assert_eq!(ports, [9619, 9618, 9616]);
    let command = plimsoll_aggregator::args::Args::command();
    assert_variables_are_known(aggregator, &command);
    let output = &sources(&super::files::root().join("components/labels/output.yaml"))[0];
    assert_variables_are_known(output, &command);
    let resize = &sources(&super::files::root().join("components/resizing/resize.yaml"))[0];
    assert_variables_are_known(resize, &command);
    assert_eq!(text(resize, &format!("{CONTAINER}/env/0/value")), "true", "it turns resizing on");
    let switch = |object: &Value| text(object, &format!("{CONTAINER}/env/0/name")).to_owned();
    assert_eq!(switch(output), switch(aggregator), "the component must replace the variable, not add one");
}
