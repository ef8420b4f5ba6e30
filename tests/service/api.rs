//! The interface of the service: responses, metadata, configuration, start and shutdown.
#![cfg(unix)]

use crate::support::reconstruct::{Run, calibration, pulse, write_calibration};
use crate::support::service::{
    Server, batches, bits, exchange, infer, messages, nuwave, pass, request, simulate, table,
};
use crate::support::snapshot;
use arrow_flight::{Action, FlightDescriptor};
use futures::{StreamExt as _, TryStreamExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn eight_concurrent_clients_receive_the_same_tables_as_a_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("a.arrow"), folder.path().join("out"));
    simulate(&file, 64, 12);
    pass(&file, &out, &["-d", "juno"]);
    let server = Server::start(&[]);
    let clients = (0..8).map(|number| {
        let rows = [1000, 64, 7, 200][number % 4];
        let what = ["hits", "waveforms", "events"][number % 3];
        let parts = batches(&file, rows);
        let server = &server;
        async move {
            let command = format!("{{\"output\": \"{what}\"}}");
            let client = server.flight().await;
            let sent = messages(&command, parts).await;
            (what, exchange(client, sent).await)
        }
    });
    for (what, found) in futures::future::join_all(clients).await {
        let expected = table(&out, what);
        assert!(!expected[0].is_empty(), "there are {what}");
        assert_eq!(bits(&found.expect(what), 0), expected, "{what}");
    }
    assert_eq!(server.metric("nuwave_events_total"), 12.0 * 2.0);
    server.wait_until_idle();
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_differ_and_their_names_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 8, 3);
    let server = Server::start(&[]);
    let get = async |command: &str| {
        let sent = messages(command, batches(&file, 1000)).await;
        exchange(server.flight().await, sent).await
    };
    for method in ["deconvolution", "integral", "coti", "sparse", "auto"] {
        let out = folder.path().join(method);
        pass(&file, &out, &["--method", method, "--no-events"]);
        let command = format!("{{\"method\": \"{method}\"}}");
        let found = get(&command).await.expect(method);
        assert_eq!(bits(&found, 0), table(&out, "hits"), "{method}");
    }
    for command in [
        "{\"method\": \"magic\"}",
        "{\"outptu\": \"hits\"}",
        "hits",
        "{\"calibration\": \"autumn\"}",
    ] {
        let refused = get(command).await.expect_err(command);
        snapshot::assert_next(&format!("{:?}: {}", refused.code(), refused.message()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_select_a_calibration_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, spring) = (
        folder.path().join("a.arrow"),
        folder.path().join("s=1.parquet"),
    );
    simulate(&file, 8, 3);
    write_calibration(&spring, &calibration(pulse(60.0, 6.0, 60), 3.0, 1.0, &[]));
    let path = spring.to_str().expect("text");
    let server = Server::start(&["--calibration", &format!("spring={path}")]);
    let get = async |command: &str| {
        let sent = messages(command, batches(&file, 1000)).await;
        exchange(server.flight().await, sent)
            .await
            .map(|it| bits(&it, 0))
    };
    for (command, more) in [
        ("{}", vec!["-d", "juno"]),
        ("{\"calibration\": \"default\"}", vec!["-d", "juno"]),
        (
            "{\"calibration\": \"spring\"}",
            vec!["-d", "juno", "-c", path],
        ),
    ] {
        let out = folder.path().join("out");
        pass(&file, &out, &[more, vec!["--no-events"]].concat());
        assert_eq!(
            get(command).await.expect(command),
            table(&out, "hits"),
            "{command}"
        );
        std::fs::remove_dir_all(out).expect("it is there");
    }
    let (_, status) = server.http("/status.json");
    assert!(status.contains("[\"default\",\"spring\"]"), "{status}");
    // A path with a separator before `=` is a path.
    let server = Server::start(&["--calibration", path]);
    assert!(server.http("/status.json").1.contains("[\"default\"]"));
    for (arguments, part) in [
        (["--calibration", "=x"], "is not `FILE` or `NAME=FILE`"),
        (["--calibration", "spring="], "is not `FILE` or `NAME=FILE`"),
    ] {
        let output = nuwave(&[&["serve", "-d", "juno"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(part), "{text}");
    }
    let twice = nuwave(&["serve", "-d", "juno", "-c", path, "-c", path]);
    assert_eq!(twice.status.code(), Some(2));
}

#[test]
fn health_metrics_and_status_page_are_served() {
    let server = Server::start(&[]);
    assert_eq!(server.http("/v2/health/live").0, 200);
    let (code, text) = server.http("/v2/health/ready");
    assert!(code == 200 && text.contains("backend: "), "{code} {text}");
    let (code, text) = server.http("/v2");
    assert!(
        code == 200 && text.contains("\"name\":\"nuwave\""),
        "{text}"
    );
    let (code, page) = server.http("/");
    assert!(code == 200 && page.contains("waveforms per second"));
    let (code, status) = server.http("/status.json");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert!(code == 200 && status["state"] == "ready", "{status}");
    let (code, metrics) = server.http("/metrics");
    assert_eq!(code, 200);
    for name in [
        "nuwave_build_info{version=",
        "nuwave_rejections_total{reason=\"memory\"} 0",
        "nuwave_queue_seconds_bucket{le=",
        "nuwave_compute_seconds_count",
        "nuwave_batch_waveforms_sum",
        "nuwave_device_failures_total 0",
        "# EOF",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    assert_eq!(server.http("/v2/models").0, 404);
    let infer = "/inference.GRPCInferenceService/ModelInfer";
    assert_eq!(server.http(infer).0, 415, "not over plain HTTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn running_requests_finish_before_the_service_ends() {
    let mut server = Server::start(&[]);
    let channel = server.channel().await;
    let (answered, mut some_answered) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::spawn(async move {
        let mut answers = Vec::new();
        for number in 0..1000 {
            match infer(&channel, request(&number.to_string(), 400, number)).await {
                Ok(answer) => {
                    answers.push(answer);
                    answered.send(()).expect("the test is waiting");
                }
                Err(status) => return (answers, status),
            }
        }
        panic!("the service did not end");
    });
    for _ in 0..10 {
        some_answered.recv().await.expect("the service answers");
    }
    server.signal("-TERM");
    assert_eq!(server.wait().code(), Some(0));
    let (answers, status) = work.await.expect("no panic");
    assert!(!answers.is_empty());
    for answer in &answers {
        assert_eq!(answer.outputs[0].shape, [401], "an answer is whole");
    }
    // The next request is rejected or cannot connect; this client reports a closed connection as an internal error.
    let ended = format!("{status:?}").contains("GoAway(b\"\", NO_ERROR");
    assert!(
        ended
            || matches!(
                status.code(),
                tonic::Code::Unavailable | tonic::Code::Unknown
            ),
        "{status:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_below_the_data_root_are_reconstructed_in_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("a folder");
    simulate(&root.join("a.arrow"), 8, 3);
    let plain = folder.path().join("plain");
    pass(&root.join("a.arrow"), &plain, &["-d", "juno"]);
    let server = Server::start(&["--data-root", root.to_str().expect("text")]);
    let act = async |body: &str| -> Result<Vec<serde_json::Value>, tonic::Status> {
        let action = Action::new("reconstruct", body.to_owned());
        let answers = server.flight().await.do_action(action).await?.into_inner();
        let answers = answers.map_ok(|it| serde_json::from_slice(&it.body).expect("JSON"));
        answers.try_collect().await
    };
    let answers = act("{\"input\": \"a.arrow\", \"output\": \"out\"}")
        .await
        .expect("it is there");
    let last = answers.last().expect("one at least");
    assert_eq!(last["state"], "done");
    assert_eq!(last["report"]["totals"]["waveforms"], 24);
    for name in ["hits", "waveforms", "events"] {
        assert_eq!(
            table(&root.join("out"), name),
            table(&plain, name),
            "{name}"
        );
    }
    act("{\"input\": [\"a.arrow\", \"a.arrow\"], \"output\": \"twice\"}")
        .await
        .expect("a repeated input is read once");
    let log = server.stderr();
    assert!(
        log.contains("WARN") && log.contains("is named more than once"),
        "{log}"
    );
    for (body, code) in [
        (
            "{\"input\": \"../plain/report.json\", \"output\": \"x\"}",
            tonic::Code::PermissionDenied,
        ),
        (
            "{\"input\": \"a.arrow\", \"output\": \"../x\"}",
            tonic::Code::PermissionDenied,
        ),
        (
            "{\"input\": \"b.arrow\", \"output\": \"x\"}",
            tonic::Code::NotFound,
        ),
        ("{\"inptu\": \"a.arrow\"}", tonic::Code::InvalidArgument),
    ] {
        let refused = act(body).await.expect_err(body);
        assert_eq!(refused.code(), code, "{body}: {refused}");
    }
    assert!(!folder.path().join("x").exists());
    let actions = server
        .flight()
        .await
        .list_actions(arrow_flight::Empty {})
        .await;
    let actions: Vec<_> = actions.expect("a list").into_inner().collect().await;
    assert_eq!(actions.len(), 1);
    // Without a data root the action is disabled.
    let closed = Server::start(&[]);
    let action = Action::new(
        "reconstruct",
        "{\"input\": \"a.arrow\", \"output\": \"out\"}",
    );
    let refused = closed.flight().await.do_action(action).await;
    assert_eq!(
        refused.expect_err("no root").code(),
        tonic::Code::PermissionDenied
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_and_outputs_can_be_listed() {
    let server = Server::start(&["-d", "lab"]);
    let mut client = server.flight().await;
    let flights = client.list_flights(arrow_flight::Criteria::default()).await;
    let flights: Vec<_> = flights
        .expect("a list")
        .into_inner()
        .try_collect()
        .await
        .expect("all");
    assert_eq!(flights.len(), 2, "without geometry there are no events");
    let events = FlightDescriptor::new_cmd("{\"output\": \"events\"}");
    let refused = client.get_schema(events).await.expect_err("no geometry");
    assert_eq!(refused.code(), tonic::Code::NotFound);
    assert!(refused.message().contains("no geometry"), "{refused}");
    let hits = client
        .get_schema(FlightDescriptor::new_path(vec!["hits".to_owned()]))
        .await;
    assert!(hits.is_ok());
}

#[test]
fn invalid_configurations_are_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "a-token-that-is-long-enough\n").expect("a file");
    let refuses = |arguments: &[&str]| {
        Run::from(nuwave(&[&["serve"], arguments].concat())).refused(2);
    };
    refuses(&["-d", "juno", "--listen", "0.0.0.0:0"]);
    refuses(&["--listen", "127.0.0.1:0"]);
    refuses(&["-d", "juno", "--listen", "here"]);
    let path = tokens.to_str().expect("text");
    refuses(&["-d", "juno", "--token-file", path]);
    refuses(&["-d", "juno", "--memory-mib", "8"]);
    refuses(&["-d", "juno", "--tls-key", path]);
    refuses(&["-d", "juno", "--data-root", "/nowhere/at/all"]);
    let config = folder.path().join("serve.toml");
    std::fs::write(&config, "detector = \"juno\"\nmemory_mb = 3\n").expect("a file");
    refuses(&["--config", config.to_str().expect("text")]);
}

#[test]
fn a_printed_configuration_can_be_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = nuwave(&[
        "serve",
        "-d",
        "juno",
        "--idle-timeout",
        "5s",
        "--print-config",
    ]);
    let text = String::from_utf8(first.stdout).expect("text");
    assert!(
        text.contains("memory_mib = 1024") && text.contains("idle_timeout = \"5s\""),
        "{text}"
    );
    let config = folder.path().join("serve.toml");
    std::fs::write(&config, &text).expect("a file");
    let config = config.to_str().expect("text");
    let second = nuwave(&["serve", "--config", config, "--print-config"]);
    assert_eq!(String::from_utf8(second.stdout).expect("text"), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_created_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("nuwave.sock");
    let address = format!("unix:{}", socket.display());
    // A leftover of a killed process is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    // A regular file is not.
    let file = folder.path().join("results");
    std::fs::write(&file, "of a month").expect("a file");
    let taken = nuwave(&[
        "serve",
        "-d",
        "juno",
        "--listen",
        &format!("unix:{}", file.display()),
    ]);
    assert_eq!(taken.status.code(), Some(2));
    assert_eq!(
        std::fs::read_to_string(&file).expect("it is there"),
        "of a month"
    );
    let mut server = Server::start(&["--listen", &address]);
    assert_eq!(server.address, address);
    let busy = nuwave(&["serve", "-d", "juno", "--listen", &address]);
    assert_eq!(busy.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&busy.stderr).contains("another process listens on this socket")
    );
    let channel = tonic::transport::Endpoint::from_shared(format!("unix://{}", socket.display()))
        .expect("an address")
        .connect()
        .await
        .expect("a connection");
    let answer = infer(&channel, request("a", 3, 1))
        .await
        .expect("an answer");
    assert_eq!(answer.outputs[0].shape, [4]);
    drop(channel);
    server.signal("-TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!socket.exists(), "the socket is gone");
}
