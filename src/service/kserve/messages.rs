//! The messages of the KServe v2 protocol, as far as they are used: names and numbers of the fields are the protocol's.

use std::collections::HashMap;

use bytes::Bytes;
use prost::{Message, Oneof};

/// A request without content: `ServerLive`, `ServerReady`, `ServerMetadata`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct EmptyRequest {}

/// The response of `ServerLive`, `ServerReady` and `ModelReady`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct BoolResponse {
    /// The response.
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
    /// Type of its numbers.
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
    /// Versions there are.
    #[prost(string, repeated, tag = "2")]
    pub versions: Vec<String>,
    /// What runs it.
    #[prost(string, tag = "3")]
    pub platform: String,
    /// What goes in.
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorMetadata>,
    /// What comes out.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorMetadata>,
}

/// A parameter of a request or an response.
#[derive(Clone, PartialEq, Message)]
pub struct Parameter {
    /// Its value.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    pub value: Option<Value>,
}

/// The value of a parameter.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// BoolResponse or no.
    #[prost(bool, tag = "1")]
    Bool(bool),
    /// A number.
    #[prost(int64, tag = "2")]
    Int64(i64),
    /// A text.
    #[prost(string, tag = "3")]
    Text(String),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A number.
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// The numbers of a tensor, where they are not raw bytes.
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
    /// Type of its numbers.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// The numbers, where the request has no raw contents.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<TensorContents>,
}

/// A tensor that the client wants.
#[derive(Clone, PartialEq, Message)]
pub struct RequestedOutput {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
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
    /// What the client calls the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// `method` and `calibration`.
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    /// The tensors.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InputTensor>,
    /// Tensors wanted; all where none is named.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<RequestedOutput>,
    /// The numbers of the tensors in their order, little-endian.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<Bytes>,
}

/// A tensor of an response.
#[derive(Clone, PartialEq, Message)]
pub struct OutputTensor {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type of its numbers.
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
    /// What the client called the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// `backend`: which one answered.
    #[prost(map = "string, message", tag = "4")]
    pub parameters: HashMap<String, Parameter>,
    /// The tensors.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<OutputTensor>,
    /// Their numbers in their order, little-endian.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

/// The response of `ModelStreamInfer`: one a request.
#[derive(Clone, PartialEq, Message)]
pub struct StreamInferResponse {
    /// What was wrong with the request; empty where nothing was.
    #[prost(string, tag = "1")]
    pub error_message: String,
    /// The response; of a refused request only its id.
    #[prost(message, optional, tag = "2")]
    pub infer_response: Option<InferResponse>,
}
