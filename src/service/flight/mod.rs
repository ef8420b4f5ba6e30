//! The Arrow Flight door: waveforms stream in as record batches, hits, summaries or events stream back.

mod encode;
mod exchange;

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::command::{Command, Output};
use super::local_files::ACTION;
use super::rejection::{Reason, Rejection};
use super::request::ActiveRequest;
use super::response;
use super::state::{Client, ServiceState};

/// Name of the service in paths.
pub const NAME: &str = "arrow.flight.protocol.FlightService";

const PROTOCOL: &str = "flight";

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service behind the service.
#[derive(Clone)]
pub struct Flight {
    state: Arc<ServiceState>,
}

impl Flight {
    /// The door to `state`.
    #[must_use]
    pub fn new(state: Arc<ServiceState>) -> Self {
        Self { state }
    }

    fn start<T>(&self, method: &'static str, request: &Request<T>) -> ActiveRequest {
        ActiveRequest::start(&self.state, PROTOCOL, method, request.metadata())
    }

    /// The command in a descriptor, for something that this service makes.
    fn command(&self, descriptor: &FlightDescriptor) -> Result<Command, Rejection> {
        let command = match descriptor.path.as_slice() {
            [] => Command::parse(&descriptor.cmd)?,
            [name] => {
                let named = Output::ALL.into_iter().find(|it| it.name() == name);
                let output = named.ok_or_else(|| {
                    Rejection::new(
                        Reason::Unknown,
                        format!("there is no `{name}`; there are hits, waveforms and events"),
                    )
                })?;
                Command {
                    output,
                    ..Command::default()
                }
            }
            _ => {
                return Err(Rejection::malformed(
                    "the descriptor's path has several parts",
                ));
            }
        };
        if command.output == Output::Events {
            self.state.backends.events()?;
        }
        Ok(command)
    }
}

fn info(output: Output) -> Result<FlightInfo, Rejection> {
    let command = serde_json::json!({ "output": output.name() }).to_string();
    let info = FlightInfo::new()
        .try_with_schema(&response::schema(output))
        .map_err(|error| Rejection::internal(error.to_string()))?;
    Ok(info.with_descriptor(FlightDescriptor::new_cmd(command)))
}

fn none<T>(what: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!(
        "there is no {what} here: waveforms are exchanged for hits with `DoExchange`"
    )))
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = ResponseStream<HandshakeResponse>;
    type ListFlightsStream = ResponseStream<FlightInfo>;
    type DoGetStream = ResponseStream<FlightData>;
    type DoPutStream = ResponseStream<PutResult>;
    type DoExchangeStream = ResponseStream<FlightData>;
    type DoActionStream = ResponseStream<arrow_flight::Result>;
    type ListActionsStream = ResponseStream<ActionType>;

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let mut active = self.start("DoExchange", &request);
        let client = request.extensions().get::<Client>();
        let permit = active.or_reject(self.state.admit_stream(client))?;
        let service = self.clone();
        let messages = request.into_inner();
        let responses =
            active.respond_stream(|responses| exchange::run(service, messages, responses, permit));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let active = self.start("GetFlightInfo", &request);
        let descriptor = request.into_inner();
        let described = async { info(self.command(&descriptor)?.output) };
        let info = active.respond(described).await?;
        Ok(Response::new(info.with_descriptor(descriptor)))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let active = self.start("GetSchema", &request);
        let schema = async {
            let output = self.command(request.get_ref())?.output;
            let schema = response::schema(output);
            SchemaAsIpc::new(&schema, &IpcWriteOptions::default())
                .try_into()
                .map_err(|error: arrow_schema::ArrowError| Rejection::internal(error.to_string()))
        };
        Ok(Response::new(active.respond(schema).await?))
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let active = self.start("ListFlights", &request);
        let all = async {
            let had = Output::ALL.into_iter();
            let had = had.filter(|output| self.state.backends.has(*output));
            had.map(info).collect::<Result<Vec<_>, _>>()
        };
        let all = active.respond(all).await?;
        Ok(Response::new(
            futures::stream::iter(all.into_iter().map(Ok)).boxed(),
        ))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let mut active = self.start("ListActions", &request);
        active.finish(Ok(()));
        let action = self.state.local_files.as_ref().map(|_| {
            Ok(ActionType {
                r#type: ACTION.to_owned(),
                description: "Reconstructs files on the service's disks: {\"input\": [\"run.h5\"], \"output\": \"out\"}, with paths below its root"
                    .to_owned(),
            })
        });
        Ok(Response::new(futures::stream::iter(action).boxed()))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let mut active = self.start("DoAction", &request);
        let action = request.into_inner();
        let ready = self.state.check_ready();
        let local_files = self.state.local_files.clone();
        // Disks may be slow, and others wait for this thread.
        let look = move || {
            ready?;
            if action.r#type != ACTION {
                return Err(Rejection::new(
                    Reason::Unknown,
                    format!(
                        "there is no action `{}`; there is `{ACTION}`",
                        action.r#type
                    ),
                ));
            }
            let local_files = local_files.ok_or_else(|| {
                Rejection::new(
                    Reason::Forbidden,
                    "this service reads no files; it was started without `--root`",
                )
            })?;
            local_files.prepare(&action.body)
        };
        let prepared = tokio::task::spawn_blocking(look)
            .await
            .unwrap_or_else(|_| Err(Rejection::internal("the files could not be looked at")));
        let job = active.or_reject(prepared)?;
        let responses = active.respond_stream(|responses| job.run(responses));
        let responses = responses.map(|it| it.map(arrow_flight::Result::new));
        Ok(Response::new(responses.boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        none("handshake (a token goes into the `authorization` header)")
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        none("PollFlightInfo")
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        none("DoGet")
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        none("DoPut")
    }
}
