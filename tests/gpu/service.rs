//! The service on a GPU that fails under load: no response is lost or wrong, and each names its backend. Needs a GPU adapter,
//! software included.
#![cfg(unix)]

use crate::support::service::{
    Server, batches, bits, exchange, infer, messages, pass, request, simulate, table,
};
use nuwave::service::kserve::messages::{InferResponse, Value};

/// Sends requests of `n` concurrent clients and returns the responses in order.
async fn responses(server: &Server, n: u64) -> Vec<InferResponse> {
    let clients = (0..n).map(|number| async move {
        let channel = server.channel().await;
        let waveforms = 10 + 7 * (number % 5) as usize;
        let id = number.to_string();
        infer(&channel, request(&id, waveforms, number))
            .await
            .expect("an answer")
    });
    futures::future::join_all(clients).await
}

fn backend(response: &InferResponse) -> &str {
    match response.parameters.get("backend").map(|it| &it.value) {
        Some(Some(Value::Text(name))) => name,
        other => panic!("{other:?}"),
    }
}

/// Waits until a metric has reached a value; the report of a backend is read after its responses are sent.
fn wait_for(server: &Server, name: &str, minimum: f64) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while server.metric(name) < minimum {
        assert!(
            std::time::Instant::now() < until,
            "{name} stays below {minimum}"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a GPU adapter"]
async fn responses_survive_device_failures() {
    let undisturbed = responses(&Server::start(&["--backend", "gpu"]), 8).await;
    assert!(undisturbed.iter().all(|it| backend(it) == "gpu"));
    // Only one failure, because a batch that fails twice goes to the CPU, and the composition of batches is random.
    let faults = [("NUWAVE_GPU_FAULTS", "lose@2")];
    let server = Server::start_with(&["--backend", "gpu"], &faults);
    let found = responses(&server, 8).await;
    for (found, expected) in found.iter().zip(&undisturbed) {
        assert_eq!(backend(found), "gpu", "done again on a new device");
        assert_eq!(found, expected);
    }
    wait_for(&server, "nuwave_device_failures_total", 1.0);
    assert_eq!(server.metric("nuwave_gpu_given_up"), 0.0);
    server.wait_until_idle();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a GPU adapter"]
async fn a_permanently_lost_gpu_is_replaced_by_the_cpu() {
    let on_cpu = responses(&Server::start(&["--backend", "cpu"]), 8).await;
    let faults: Vec<String> = (0..200).map(|step| format!("lose@{step}")).collect();
    let faults = [("NUWAVE_GPU_FAULTS", faults.join(","))];
    let faults = faults
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let server = Server::start_with(&["--backend", "gpu"], &faults);
    let found = responses(&server, 8).await;
    for (found, expected) in found.iter().zip(&on_cpu) {
        assert_eq!(backend(found), "cpu");
        assert_eq!(found, expected);
    }
    // The requests may have shared few batches: send more, one by one.
    let channel = server.channel().await;
    for number in 0..6 {
        let answer = infer(&channel, request("more", 9, number)).await;
        assert_eq!(backend(&answer.expect("an answer")), "cpu");
    }
    wait_for(&server, "nuwave_gpu_given_up", 1.0);
    let (code, text) = server.http("/v2/health/ready");
    assert!(
        code == 200 && text.contains("failed, replaced by the CPU"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a GPU adapter"]
async fn a_service_and_a_pass_on_the_same_gpu_give_the_same_hits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("a.arrow"), folder.path().join("out"));
    simulate(&file, 16, 4);
    pass(&file, &out, &["--backend", "gpu", "--no-events"]);
    let server = Server::start(&["--backend", "gpu"]);
    let sent = messages("{}", batches(&file, 5)).await;
    let found = exchange(server.flight().await, sent).await.expect("hits");
    assert_eq!(bits(&found, 0), table(&out, "hits"));
}
