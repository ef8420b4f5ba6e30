//! Arrow Flight: clients stream waveforms as record batches and receive a stream of hits, waveform summaries or events.

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

/// The name of the gRPC service.
pub const NAME: &str = "arrow.flight.protocol.FlightService";

const PROTOCOL: &str = "flight";

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The implementation of the Flight service.
#[derive(Clone)]
pub struct Flight {
    state: Arc<ServiceState>,
}

impl Flight {
    /// Creates the service.
    #[must_use]
    pub fn new(state: Arc<ServiceState>) -> Self {
        Self { state }
    }

    fn start<T>(&self, method: &'static str, request: &Request<T>) -> ActiveRequest {
        ActiveRequest::start(&self.state, PROTOCOL, method, request.metadata())
    }

    /// Parses the command in a descriptor and checks that its output is available.
    fn command(&self, descriptor: &FlightDescriptor) -> Result<Command, Rejection> {
        let command = match descriptor.path.as_slice() {
            [] => Command::parse(&descriptor.cmd)?,
            [name] => {
                let named = Output::ALL.into_iter().find(|it| it.name() == name);
                let output = named.ok_or_else(|| {
                    Rejection::new(
                        Reason::Unknown,
                        format!("unknown output `{name}`; available: hits, waveforms, events"),
                    )
                })?;
                Command {
                    output,
                    ..Command::default()
                }
            }
            _ => {
                return Err(Rejection::malformed(
                    "the path of the descriptor has several components",
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

fn unimplemented<T>(method: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!(
        "{method} is not supported; use `DoExchange`"
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
            let available = Output::ALL.into_iter();
            let available = available.filter(|output| self.state.backends.has(*output));
            available.map(info).collect::<Result<Vec<_>, _>>()
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
                description: "Reconstructs files that are local to the service: {\"input\": [\"run.h5\"], \"output\": \"out\"}, with paths below the data root"
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
        // File access may block.
        let prepare = move || {
            ready?;
            if action.r#type != ACTION {
                return Err(Rejection::new(
                    Reason::Unknown,
                    format!("unknown action `{}`; available: `{ACTION}`", action.r#type),
                ));
            }
            let local_files = local_files.ok_or_else(|| {
                Rejection::new(
                    Reason::Forbidden,
                    "this service does not access local files",
                )
            })?;
            local_files.prepare(&action.body)
        };
        let prepared = tokio::task::spawn_blocking(prepare)
            .await
            .unwrap_or_else(|_| Err(Rejection::internal("the files could not be checked")));
        let pass = active.or_reject(prepared)?;
        let responses = active.respond_stream(|responses| pass.run(responses));
        let responses = responses.map(|it| it.map(arrow_flight::Result::new));
        Ok(Response::new(responses.boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        unimplemented("Handshake (send the token in the `authorization` header)")
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        unimplemented("PollFlightInfo")
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        unimplemented("DoGet")
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        unimplemented("DoPut")
    }
}
