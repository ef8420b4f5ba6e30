//! The questions of clients of Triton, SONIC among them, before their first inference, and the statistics after it.

use nuwave::service::kserve::messages::{InferRequest, ModelRequest, Parameter, Value};
use nuwave::service::kserve::repository_messages::{
    DataType, ModelConfigResponse, ModelStatisticsResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, SharedMemoryRequest, SharedMemoryResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::support::service::{Server, infer, request};

async fn ask<Q, A>(channel: &Channel, method: &str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + Default + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = format!("/inference.GRPCInferenceService/{method}");
    let path = path.parse().expect("a path");
    client
        .unary(
            tonic::Request::new(request),
            path,
            ProstCodec::<Q, A>::default(),
        )
        .await
        .map(tonic::Response::into_inner)
}

fn named(name: &str, version: &str) -> ModelRequest {
    ModelRequest {
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_lists_the_models_with_their_states() {
    let server = Server::start(&["--backend", "cpu"]);
    let channel = server.channel().await;
    let index = |ready, repository: &str| {
        let request = RepositoryIndexRequest {
            repository_name: repository.to_owned(),
            ready,
        };
        ask::<_, RepositoryIndexResponse>(&channel, "RepositoryIndex", request)
    };
    let found = index(false, "").await.expect("an index");
    let states: Vec<(&str, &str, &str)> = found
        .models
        .iter()
        .map(|it| (it.name.as_str(), it.version.as_str(), it.state.as_str()))
        .collect();
    assert_eq!(
        states,
        [("waveform", "1", "READY"), ("event", "1", "READY")]
    );
    assert_eq!(index(true, "").await.expect("an index"), found);
    let unknown = index(false, "elsewhere")
        .await
        .expect_err("no such repository");
    assert_eq!(unknown.code(), Code::NotFound);

    // A detector without positions has no events.
    let server = Server::start(&["--backend", "cpu", "-d", "lab"]);
    let channel = server.channel().await;
    let all = RepositoryIndexRequest::default();
    let found: RepositoryIndexResponse = ask(&channel, "RepositoryIndex", all)
        .await
        .expect("an index");
    let event = &found.models[1];
    assert_eq!(
        (event.name.as_str(), event.state.as_str()),
        ("event", "UNAVAILABLE")
    );
    assert!(!event.reason.is_empty());
    let ready = RepositoryIndexRequest {
        ready: true,
        ..RepositoryIndexRequest::default()
    };
    let found: RepositoryIndexResponse = ask(&channel, "RepositoryIndex", ready)
        .await
        .expect("an index");
    assert_eq!(found.models.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_have_the_tensors_without_a_batch_dimension() {
    let server = Server::start(&["--backend", "cpu"]);
    let channel = server.channel().await;
    for model in ["waveform", "event"] {
        let found: ModelConfigResponse = ask(&channel, "ModelConfig", named(model, "1"))
            .await
            .expect("a configuration");
        let config = found.config.expect("a configuration");
        assert_eq!((config.name.as_str(), config.max_batch_size), (model, 0));
        let inputs: Vec<_> = config
            .input
            .iter()
            .map(|it| {
                (
                    it.name.as_str(),
                    it.data_type(),
                    it.dims.as_slice(),
                    it.optional,
                )
            })
            .collect();
        assert_eq!(
            inputs,
            [
                ("samples", DataType::Uint16, &[-1, -1][..], false),
                ("channel_id", DataType::Uint32, &[-1], false),
                ("event_id", DataType::Uint64, &[-1], false),
                ("start_ns", DataType::Fp64, &[-1], true),
            ]
        );
        assert!(config.output.iter().all(|it| it.dims == [-1]));
    }
    for (name, version) in [("nope", ""), ("waveform", "2")] {
        let unknown = ask::<_, ModelConfigResponse>(&channel, "ModelConfig", named(name, version));
        assert_eq!(unknown.await.expect_err("unknown").code(), Code::NotFound);
    }
    let all = SharedMemoryRequest::default();
    for method in ["SystemSharedMemoryStatus", "CudaSharedMemoryStatus"] {
        let none = ask::<_, SharedMemoryResponse>(&channel, method, all.clone()).await;
        assert_eq!(none.expect("no regions"), SharedMemoryResponse {});
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_requests_by_model_and_outcome() {
    let server = Server::start(&["--backend", "cpu"]);
    let channel = server.channel().await;
    let with = |parameters: &[(&str, Value)], seed| {
        let mut request = request("a", 4, seed);
        for (name, value) in parameters {
            let value = Some(value.clone());
            request
                .parameters
                .insert((*name).to_owned(), Parameter { value });
        }
        request
    };
    let text = |text: &str| Value::Text(text.to_owned());
    // Parameters that Triton's clients send on their own change nothing.
    let own = [("priority", Value::Uint64(1)), ("timeout", Value::Int64(0))];
    let good: [InferRequest; 3] = [
        with(&[], 1),
        with(&own, 1),
        with(&[("method", text("sparse"))], 1),
    ];
    let mut answers = Vec::new();
    for request in good {
        answers.push(infer(&channel, request).await.expect("hits"));
    }
    assert_eq!(answers[0], answers[1]);
    let misspelt = with(&[("metod", text("sparse"))], 1);
    assert!(infer(&channel, misspelt).await.is_err());
    let found: ModelStatisticsResponse = ask(&channel, "ModelStatistics", named("", ""))
        .await
        .expect("statistics");
    let [waveform, event] = found.model_stats.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (waveform.name.as_str(), event.name.as_str()),
        ("waveform", "event")
    );
    assert_eq!((waveform.inference_count, waveform.execution_count), (3, 3));
    assert!(waveform.last_inference > 1_600_000_000_000);
    let stats = waveform.inference_stats.clone().expect("times");
    let count = |it: Option<nuwave::service::kserve::repository_messages::StatisticDuration>| {
        it.expect("a number").count
    };
    assert_eq!((count(stats.success), count(stats.fail)), (3, 1));
    let [all, parts] = [
        stats.success.expect("a time").ns,
        stats.queue.expect("a time").ns + stats.compute_infer.expect("a time").ns,
    ];
    assert!(parts > 0 && parts <= all, "{parts} of {all}");
    assert_eq!(event.inference_count, 0);
    let one: ModelStatisticsResponse = ask(&channel, "ModelStatistics", named("event", ""))
        .await
        .expect("statistics");
    assert_eq!(one.model_stats.len(), 1);
    let unknown = ask::<_, ModelStatisticsResponse>(&channel, "ModelStatistics", named("x", ""));
    assert_eq!(unknown.await.expect_err("unknown").code(), Code::NotFound);
}
