//! The KServe v2 protocol, which clients of Triton and SONIC use, with the models `waveform` and `event`.

mod codec;
pub mod messages;
mod repository;
pub mod repository_messages;
mod results;
pub mod statistics;
mod stream_infer;
mod tensors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body as AxumBody;
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::codec::Codec;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::batcher::JobOutcome;
use super::budget::SharedPermit;
use super::command::Command;
use super::rejection::{Reason, Rejection};
use super::request::ActiveRequest;
use super::response::{self, EventGrouper};
use super::state::{RequestPermit, ServiceState};
use crate::io::SourceInfo;
use crate::pipeline::DuplicateFilter;
use codec::InferCodec;
use messages::{
    BoolResponse, EmptyRequest, InferRequest, InferResponse, ModelMetadata, ModelRequest,
    ServerMetadata, StreamInferResponse, TensorMetadata, Value,
};
use repository_messages::{RepositoryIndexRequest, SharedMemoryRequest};
use statistics::{Statistics, Times};

/// The name of the gRPC service.
pub const NAME: &str = "inference.GRPCInferenceService";

const PROTOCOL: &str = "kserve";
/// The platform and the backend of the models.
const PLATFORM: &str = "nuwave";
/// Extensions of the protocol that Triton defines.
const EXTENSIONS: [&str; 2] = ["model_configuration", "statistics"];
/// Parameters that Triton's clients send on their own and that change nothing here: requests have no state, order or deadline of their own.
const IGNORED_PARAMETERS: [&str; 6] = [
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "priority",
    "timeout",
    "triton_enable_empty_final_response",
];
/// The only version of each model.
const VERSION: &str = "1";

const TRUE: BoolResponse = BoolResponse { value: true };

/// The models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    Waveform,
    Event,
}

impl Model {
    const ALL: [Self; 2] = [Self::Waveform, Self::Event];

    fn name(self) -> &'static str {
        match self {
            Self::Waveform => "waveform",
            Self::Event => "event",
        }
    }
}

/// The implementation of the inference service.
#[derive(Clone)]
pub struct KServe {
    state: Arc<ServiceState>,
}

impl KServe {
    /// Creates the service.
    #[must_use]
    pub fn new(state: Arc<ServiceState>) -> Self {
        Self { state }
    }

    /// Processes a request; its path determines the method.
    pub async fn serve(self, request: http::Request<AxumBody>) -> http::Response<Body> {
        let request = request.map(Body::new);
        let path = request.uri().path().strip_prefix('/').unwrap_or_default();
        let method = path.strip_prefix(NAME).unwrap_or_default();
        let method = method.strip_prefix('/').unwrap_or_default();
        let max_bytes = self.state.limits.message;
        match method {
            "ServerLive" => {
                unary(
                    ProstCodec::default(),
                    max_bytes,
                    request,
                    |_: Request<EmptyRequest>| async { Ok(TRUE) },
                )
                .await
            }
            "ServerReady" => {
                let value = self.state.is_ready();
                let handler =
                    move |_: Request<EmptyRequest>| async move { Ok(BoolResponse { value }) };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "ServerMetadata" => {
                unary(
                    ProstCodec::default(),
                    max_bytes,
                    request,
                    |_: Request<EmptyRequest>| async { Ok(server()) },
                )
                .await
            }
            "ModelReady" => {
                let handler = |it: Request<ModelRequest>| {
                    let known = self.model(&it.get_ref().name, &it.get_ref().version);
                    let value = self.state.is_ready();
                    async move { known.map(|_| BoolResponse { value }).map_err(Status::from) }
                };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "ModelMetadata" => {
                let handler = |it: Request<ModelRequest>| {
                    let known = self.model(&it.get_ref().name, &it.get_ref().version);
                    async move { known.map(metadata).map_err(Status::from) }
                };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "ModelConfig" => {
                let handler = |it: Request<ModelRequest>| {
                    std::future::ready(self.config(it.get_ref()).map_err(Status::from))
                };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "ModelStatistics" => {
                let handler = |it: Request<ModelRequest>| {
                    std::future::ready(self.statistics(it.get_ref()).map_err(Status::from))
                };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "RepositoryIndex" => {
                let handler = |it: Request<RepositoryIndexRequest>| {
                    std::future::ready(self.index(it.get_ref()).map_err(Status::from))
                };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "SystemSharedMemoryStatus" | "CudaSharedMemoryStatus" => {
                let handler = |it: Request<SharedMemoryRequest>| {
                    std::future::ready(
                        repository::shared_memory(it.get_ref()).map_err(Status::from),
                    )
                };
                unary(ProstCodec::default(), max_bytes, request, handler).await
            }
            "ModelInfer" => {
                let handler = |it: Request<InferRequest>| {
                    let active =
                        ActiveRequest::start(&self.state, PROTOCOL, "ModelInfer", it.metadata());
                    let request_permit = it.extensions().get::<RequestPermit>().cloned();
                    active.respond(self.infer(it.into_inner(), request_permit))
                };
                unary(InferCodec::default(), max_bytes, request, handler).await
            }
            "ModelStreamInfer" => {
                let handler = |it: Request<Streaming<InferRequest>>| {
                    std::future::ready(self.stream_infer(it).map(Response::new))
                };
                Grpc::new(InferCodec::<StreamInferResponse>::default())
                    .max_decoding_message_size(max_bytes)
                    .max_encoding_message_size(usize::MAX)
                    .streaming(tower::service_fn(handler), request)
                    .await
            }
            _ => Status::unimplemented(format!("unknown method `{method}`")).into_http(),
        }
    }

    /// Returns the model of this name and version.
    fn model(&self, name: &str, version: &str) -> Result<Model, Rejection> {
        let unknown = |what: String| Err(Rejection::new(Reason::Unknown, what));
        let model = match name {
            "waveform" => Model::Waveform,
            "event" => Model::Event,
            _ => {
                return unknown(format!(
                    "unknown model `{name}`; available: `waveform`, `event`"
                ));
            }
        };
        if !version.is_empty() && version != VERSION {
            return unknown(format!(
                "model `{name}` has no version {version}, only {VERSION}"
            ));
        }
        if model == Model::Event {
            self.state.backends.events()?;
        }
        Ok(model)
    }

    fn statistics_of(&self, model: Model) -> &Statistics {
        match model {
            Model::Waveform => &self.state.statistics.waveform,
            Model::Event => &self.state.statistics.event,
        }
    }

    /// Queues the waveforms of a request.
    async fn submit(
        &self,
        request: InferRequest,
        permit: SharedPermit,
    ) -> Result<Submitted, Rejection> {
        let arrived = Instant::now();
        let model = self.model(&request.model_name, &request.model_version)?;
        let submitted = self.submit_to(model, request, permit, arrived).await;
        if submitted.is_err() {
            self.statistics_of(model).record_failure(arrived);
        }
        submitted
    }

    async fn submit_to(
        &self,
        model: Model,
        request: InferRequest,
        permit: SharedPermit,
        arrived: Instant,
    ) -> Result<Submitted, Rejection> {
        let bytes = request.encoded_len() as u64;
        self.state.metrics.bytes_in.inc_by(bytes);
        match model {
            Model::Waveform => results::check_requested(&request, &results::WAVEFORM_OUTPUTS)?,
            Model::Event => results::check_requested(&request, &results::EVENT_OUTPUTS)?,
        }
        let command = command(&request)?;
        let (batch, sample_type) = tensors::waveforms(&request)?;
        let mut info = SourceInfo::new(PathBuf::from("request"), "tensors", 0);
        sample_type.clone_into(&mut info.sample_type);
        let key = self.state.backends.key(&command, &info)?;
        let requested = request.outputs.into_iter().map(|it| it.name).collect();
        let response = InferResponse {
            model_name: model.name().to_owned(),
            model_version: VERSION.to_owned(),
            id: request.id,
            ..InferResponse::default()
        };
        let input = arrived.elapsed();
        let outcome = self.state.backends.submit(&key, batch, permit).await?;
        Ok(Submitted {
            model,
            arrived,
            input,
            outcome,
            requested,
            response,
        })
    }

    /// Waits for the hits of a request, reconstructs events if requested, and builds the response.
    async fn finish(&self, submitted: Submitted) -> Result<InferResponse, Rejection> {
        let (model, arrived) = (submitted.model, submitted.arrived);
        let response = self.respond(submitted).await;
        if response.is_err() {
            self.statistics_of(model).record_failure(arrived);
        }
        response
    }

    async fn respond(&self, submitted: Submitted) -> Result<InferResponse, Rejection> {
        let Submitted {
            model,
            arrived,
            input,
            outcome,
            requested,
            response,
        } = submitted;
        let lost = |_| Rejection::internal("the backend did not return a batch");
        let mut result = outcome.await.map_err(lost)??;
        let extracted = Instant::now();
        DuplicateFilter::for_stream()
            .mark(&result.batch, &mut result.extracted)
            .map_err(|error| Rejection::internal(error.reason()))?;
        let backend = result.backend;
        let outputs = match model {
            Model::Waveform => results::build_response(
                response,
                &requested,
                &results::WAVEFORM_OUTPUTS,
                &result,
                backend,
            ),
            Model::Event => {
                let mut grouper = EventGrouper::default();
                grouper.add(&result.batch, &result.extracted)?;
                let reconstructor = self.state.backends.events()?;
                let events = response::reconstruct(
                    &reconstructor,
                    self.state.backends.pool(),
                    grouper.take_complete(true),
                )
                .await?;
                self.state.metrics.events.inc_by(events.len() as u64);
                results::build_response(
                    response,
                    &requested,
                    &results::EVENT_OUTPUTS,
                    &events,
                    backend,
                )
            }
        };
        let bytes = outputs.encoded_len() as u64;
        self.state.metrics.bytes_out.inc_by(bytes);
        self.statistics_of(model).record_success(&Times {
            arrived,
            input,
            queue: result.queued,
            infer: result.computed,
            output: extracted.elapsed(),
            is_first_of_batch: result.is_first_of_batch,
        });
        Ok(outputs)
    }

    async fn infer(
        &self,
        request: InferRequest,
        request_permit: Option<RequestPermit>,
    ) -> Result<InferResponse, Rejection> {
        self.state.check_ready()?;
        let Some(RequestPermit(permit)) = request_permit else {
            return Err(Rejection::internal("a request without reserved memory"));
        };
        let submitted = self.submit(request, permit).await?;
        self.finish(submitted).await
    }
}

/// A queued request.
struct Submitted {
    model: Model,
    arrived: Instant,
    /// Time that decoding took.
    input: Duration,
    outcome: oneshot::Receiver<JobOutcome>,
    requested: Vec<String>,
    response: InferResponse,
}

/// Processes a unary request.
async fn unary<C, F>(
    codec: C,
    max_bytes: usize,
    request: http::Request<Body>,
    mut handler: impl FnMut(Request<C::Decode>) -> F,
) -> http::Response<Body>
where
    C: Codec,
    C::Decode: Send,
    F: Future<Output = Result<C::Encode, Status>>,
{
    let service = tower::service_fn(move |request| {
        let response = handler(request);
        async { response.await.map(Response::new) }
    });
    Grpc::new(codec)
        .max_decoding_message_size(max_bytes)
        .max_encoding_message_size(usize::MAX)
        .unary(service, request)
        .await
}

fn server() -> ServerMetadata {
    ServerMetadata {
        name: PLATFORM.to_owned(),
        version: crate::VERSION.to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

fn metadata(model: Model) -> ModelMetadata {
    let tensor = |name: &str, datatype: &str, shape: &[i64]| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
    };
    let outputs = match model {
        Model::Waveform => {
            let outputs = results::WAVEFORM_OUTPUTS.iter();
            outputs
                .map(|it| tensor(it.name, it.datatype, &[-1]))
                .collect()
        }
        Model::Event => {
            let outputs = results::EVENT_OUTPUTS.iter();
            outputs
                .map(|it| tensor(it.name, it.datatype, &[-1]))
                .collect()
        }
    };
    ModelMetadata {
        name: model.name().to_owned(),
        versions: vec![VERSION.to_owned()],
        platform: PLATFORM.to_owned(),
        inputs: tensors::INPUTS
            .iter()
            .map(|(name, datatype, shape)| tensor(name, datatype, shape))
            .collect(),
        outputs,
    }
}

/// Parses the command in the parameters of a request.
fn command(request: &InferRequest) -> Result<Command, Rejection> {
    const KNOWN: [&str; 2] = ["method", "calibration"];
    let is_known = |name: &&str| KNOWN.contains(name) || IGNORED_PARAMETERS.contains(name);
    let names = request.parameters.keys().map(String::as_str);
    if let Some(unknown) = names.filter(|name| !is_known(name)).min() {
        return Err(Rejection::malformed(format!(
            "unknown parameter `{unknown}`; available: {}",
            KNOWN.join(", ")
        )));
    }
    let mut fields = serde_json::Map::new();
    for name in KNOWN {
        match request.parameters.get(name).map(|it| &it.value) {
            None => {}
            Some(Some(Value::Text(text))) => {
                fields.insert(name.to_owned(), text.as_str().into());
            }
            Some(_) => {
                return Err(Rejection::malformed(format!(
                    "parameter `{name}` is not a string"
                )));
            }
        }
    }
    // The output depends on the model.
    let command = serde_json::from_value(serde_json::Value::Object(fields));
    command.map_err(|error| Rejection::malformed(format!("parameters: {error}")))
}
