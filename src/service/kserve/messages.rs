//! The messages of the KServe v2 protocol that are used. Names and numbers of fields are those of the protocol.

use std::collections::HashMap;

use bytes::Bytes;
use prost::{Message, Oneof};

/// The request of `ServerLive`, `ServerReady` and `ServerMetadata`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct EmptyRequest {}

/// The response of `ServerLive`, `ServerReady` and `ModelReady`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct BoolResponse {
    /// The value.
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// The response of `ServerMetadata`.
#[derive(Clone, PartialEq, Message)]
pub struct ServerMetadata {
    /// Name of the server.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Extensions of the protocol.
    #[prost(string, repeated, tag = "3")]
    pub extensions: Vec<String>,
}

/// The request of `ModelReady` and `ModelMetadata`.
#[derive(Clone, PartialEq, Message)]
pub struct ModelRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version; empty for any.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// One tensor of a model.
#[derive(Clone, PartialEq, Message)]
pub struct TensorMetadata {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Data type.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Shape, -1 for any length.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

/// The response of `ModelMetadata`.
#[derive(Clone, PartialEq, Message)]
pub struct ModelMetadata {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Available versions.
    #[prost(string, repeated, tag = "2")]
    pub versions: Vec<String>,
    /// Platform.
    #[prost(string, tag = "3")]
    pub platform: String,
    /// Input tensors.
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorMetadata>,
    /// Output tensors.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorMetadata>,
}

/// A parameter of a request or a response.
#[derive(Clone, PartialEq, Message)]
pub struct Parameter {
    /// The value.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    pub value: Option<Value>,
}

/// The value of a parameter.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// A boolean.
    #[prost(bool, tag = "1")]
    Bool(bool),
    /// A signed integer.
    #[prost(int64, tag = "2")]
    Int64(i64),
    /// A string.
    #[prost(string, tag = "3")]
    Text(String),
    /// A floating-point number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// An unsigned integer.
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// The listed values of a tensor, as an alternative to raw contents.
#[derive(Clone, PartialEq, Message)]
pub struct TensorContents {
    /// INT8, INT16, INT32.
    #[prost(int32, repeated, tag = "2")]
    pub int: Vec<i32>,
    /// INT64.
    #[prost(int64, repeated, tag = "3")]
    pub int64: Vec<i64>,
    /// UINT8, UINT16, UINT32.
    #[prost(uint32, repeated, tag = "4")]
    pub uint: Vec<u32>,
    /// UINT64.
    #[prost(uint64, repeated, tag = "5")]
    pub uint64: Vec<u64>,
    /// FP32.
    #[prost(float, repeated, tag = "6")]
    pub fp32: Vec<f32>,
    /// FP64.
    #[prost(double, repeated, tag = "7")]
    pub fp64: Vec<f64>,
}

/// A tensor of a request.
#[derive(Clone, PartialEq, Message)]
pub struct InputTensor {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Data type.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// A parameter; none is supported. Only the last one is kept, since a request may hold many.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub parameter: Option<Bytes>,
    /// The values, if the request has no raw contents.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<TensorContents>,
}

/// A tensor that the client requests.
#[derive(Clone, PartialEq, Message)]
pub struct RequestedOutput {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A parameter; none is supported. Only the last one is kept.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub parameter: Option<Bytes>,
}

/// The request of `ModelInfer` and `ModelStreamInfer`.
#[derive(Clone, PartialEq, Message)]
pub struct InferRequest {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version; empty for any.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// The identifier of the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// `method` and `calibration`, and those of Triton's clients that change nothing here.
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    /// The tensors.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InputTensor>,
    /// The requested tensors; all if empty.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<RequestedOutput>,
    /// The values of the tensors in order, little-endian.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<Bytes>,
}

/// A tensor of a response.
#[derive(Clone, PartialEq, Message)]
pub struct OutputTensor {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Data type.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

/// The response of `ModelInfer`.
#[derive(Clone, PartialEq, Message)]
pub struct InferResponse {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// The identifier of the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// `backend`: the backend that processed the request.
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    /// The tensors.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<OutputTensor>,
    /// The values of the tensors in order, little-endian.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

/// The response of `ModelStreamInfer`, one per request.
#[derive(Clone, PartialEq, Message)]
pub struct StreamInferResponse {
    /// The error message; empty on success.
    #[prost(string, tag = "1")]
    pub error_message: String,
    /// The response; of a rejected request only its identifier and the parameters `reason`, `limit` and `hint`.
    #[prost(message, optional, tag = "2")]
    pub infer_response: Option<InferResponse>,
}
