//! The kubelet on real cgroups: skipped without root.

use super::*;
use crate::host::real::{RealHost, tests as host_tests};

#[tokio::test]
async fn on_real_cgroups_a_pod_is_resized_restarted_and_removed_completely() {
    let test = "on_real_cgroups_a_pod_is_resized_restarted_and_removed_completely";
    if !host_tests::possible(test) {
        return;
    }
    let name = "plimsoll-test-kubelet";
    let host = Arc::new(RealHost::new(name, host_tests::workload_command()).unwrap());
    let api = ApiServer::start(ApiOptions::default()).await.unwrap();
    let mut kubelet =
        Kubelet::start(&api, Arc::clone(&host) as Arc<dyn Host>, KubeletOptions::new("n1")).unwrap();
    let spec = json!({"nodeName": "n1", "containers": [{"name": "app", "image": "app:1", "resources": half_a_core()}]});
    let metadata = json!({"namespace": "default", "name": "web"});
    api.store().create(&Resource::PODS, json!({"metadata": metadata, "spec": spec})).unwrap();
    let pod = || api.store().get(&Resource::PODS, "default", "web").unwrap();
    let until = |holds: &dyn Fn(&Value) -> bool| wait_for(pod, holds);
    let enforced = |pod: &Value| {
        let uid = uid(pod);
        [CgroupId::pod(&uid), CgroupId::container(&uid, &id(pod))]
            .map(|cgroup| host.limits(&cgroup).unwrap().cpu)
    };
    let running = until(&|pod| pod["status"]["phase"] == "Running");
    assert_eq!(enforced(&running), [Limit::Of(Cores(0.5)); 2]);
    // Up and down: the kernel rejects a quota above that of the parent, so the order matters.
    for cpu in ["900m", "200m"] {
        let resources = json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let patch =
            Patch::Strategic(json!({"spec": {"containers": [{"name": "app", "resources": resources}]}}));
        let write = Write::by("test").through(Subresource::Resize);
        api.store().patch(&Resource::PODS, "default", "web", &patch, &write).unwrap();
        let resized =
            until(&|pod| pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == cpu);
        let cores = if cpu == "900m" { 0.9 } else { 0.2 };
        assert_eq!(enforced(&resized), [Limit::Of(Cores(cores)); 2]);
    }
    let pid = host.pids(&uid(&running))[&id(&running)];
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let again = until(&|pod| {
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"] == 1 && status["ready"] == true
    });
    assert_ne!(id(&again), id(&running));
    assert_eq!(enforced(&again), [Limit::Of(Cores(0.2)); 2], "it restarts at its current size");
    kubelet.stop();
    host.stop();
    assert_eq!(host_tests::directories_of(name), Vec::<std::path::PathBuf>::new());
}
