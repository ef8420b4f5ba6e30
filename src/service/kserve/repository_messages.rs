//! The messages with which Triton describes its models: index of the repository, configuration, statistics, shared memory. Names and numbers of
//! fields are those of the protocol; fields that nuwave never sets are left out.

use prost::{Enumeration, Message};

/// The request of `RepositoryIndex`.
#[derive(Clone, PartialEq, Message)]
pub struct RepositoryIndexRequest {
    /// Name of a repository; empty for all.
    #[prost(string, tag = "1")]
    pub repository_name: String,
    /// Only models that are ready.
    #[prost(bool, tag = "2")]
    pub ready: bool,
}

/// A model in the index.
#[derive(Clone, PartialEq, Message)]
pub struct ModelIndex {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// `READY` or `UNAVAILABLE`.
    #[prost(string, tag = "3")]
    pub state: String,
    /// The reason of the state.
    #[prost(string, tag = "4")]
    pub reason: String,
}

/// The response of `RepositoryIndex`.
#[derive(Clone, PartialEq, Message)]
pub struct RepositoryIndexResponse {
    /// The models.
    #[prost(message, repeated, tag = "1")]
    pub models: Vec<ModelIndex>,
}

/// The type of a tensor's values in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// Not known.
    Invalid = 0,
    /// UINT8.
    Uint8 = 2,
    /// UINT16.
    Uint16 = 3,
    /// UINT32.
    Uint32 = 4,
    /// UINT64.
    Uint64 = 5,
    /// FP32.
    Fp32 = 11,
    /// FP64.
    Fp64 = 12,
}

impl DataType {
    /// Returns the type of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Self {
        match name {
            "UINT8" => Self::Uint8,
            "UINT16" => Self::Uint16,
            "UINT32" => Self::Uint32,
            "UINT64" => Self::Uint64,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            _ => Self::Invalid,
        }
    }
}

/// An input tensor in a configuration.
#[derive(Clone, PartialEq, Message)]
pub struct ModelInput {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type of the values.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Shape, -1 for any length.
    #[prost(int64, repeated, tag = "4")]
    pub dims: Vec<i64>,
    /// True if requests may leave it out.
    #[prost(bool, tag = "8")]
    pub optional: bool,
}

/// An output tensor in a configuration.
#[derive(Clone, PartialEq, Message)]
pub struct ModelOutput {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type of the values.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Shape, -1 for any length.
    #[prost(int64, repeated, tag = "3")]
    pub dims: Vec<i64>,
}

/// The policy that serves the latest versions.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LatestVersions {
    /// Their number.
    #[prost(uint32, tag = "1")]
    pub num_versions: u32,
}

/// Which versions of a model are served.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct VersionPolicy {
    /// The latest ones.
    #[prost(message, optional, tag = "1")]
    pub latest: Option<LatestVersions>,
}

/// The configuration of a model.
#[derive(Clone, PartialEq, Message)]
pub struct ModelConfig {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Platform.
    #[prost(string, tag = "2")]
    pub platform: String,
    /// Which versions are served.
    #[prost(message, optional, tag = "3")]
    pub version_policy: Option<VersionPolicy>,
    /// 0: shapes are complete, the number of waveforms is their first dimension.
    #[prost(int32, tag = "4")]
    pub max_batch_size: i32,
    /// Input tensors.
    #[prost(message, repeated, tag = "5")]
    pub input: Vec<ModelInput>,
    /// Output tensors.
    #[prost(message, repeated, tag = "6")]
    pub output: Vec<ModelOutput>,
    /// The program that runs the model.
    #[prost(string, tag = "17")]
    pub backend: String,
}

/// The response of `ModelConfig`.
#[derive(Clone, PartialEq, Message)]
pub struct ModelConfigResponse {
    /// The configuration.
    #[prost(message, optional, tag = "1")]
    pub config: Option<ModelConfig>,
}

/// A number of things and the time that they took together.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StatisticDuration {
    /// The number.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// The time in nanoseconds.
    #[prost(uint64, tag = "2")]
    pub ns: u64,
}

/// Times of the requests of a model.
#[derive(Clone, PartialEq, Message)]
pub struct InferStatistics {
    /// Requests that succeeded.
    #[prost(message, optional, tag = "1")]
    pub success: Option<StatisticDuration>,
    /// Requests that failed.
    #[prost(message, optional, tag = "2")]
    pub fail: Option<StatisticDuration>,
    /// Waiting for a batch to begin.
    #[prost(message, optional, tag = "3")]
    pub queue: Option<StatisticDuration>,
    /// Decoding the tensors.
    #[prost(message, optional, tag = "4")]
    pub compute_input: Option<StatisticDuration>,
    /// Extraction.
    #[prost(message, optional, tag = "5")]
    pub compute_infer: Option<StatisticDuration>,
    /// Building the response, events included.
    #[prost(message, optional, tag = "6")]
    pub compute_output: Option<StatisticDuration>,
}

/// Statistics of a model.
#[derive(Clone, PartialEq, Message)]
pub struct ModelStatistics {
    /// Name of the model.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Time of the last request in milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub last_inference: u64,
    /// Requests that succeeded. A request counts once, whatever its number of waveforms, since the model has no batch dimension.
    #[prost(uint64, tag = "4")]
    pub inference_count: u64,
    /// Batches that were extracted for them; a batch may hold several requests.
    #[prost(uint64, tag = "5")]
    pub execution_count: u64,
    /// Times of the requests.
    #[prost(message, optional, tag = "6")]
    pub inference_stats: Option<InferStatistics>,
}

/// The response of `ModelStatistics`.
#[derive(Clone, PartialEq, Message)]
pub struct ModelStatisticsResponse {
    /// One per model.
    #[prost(message, repeated, tag = "1")]
    pub model_stats: Vec<ModelStatistics>,
}

/// The request of `SystemSharedMemoryStatus` and `CudaSharedMemoryStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct SharedMemoryRequest {
    /// Name of a region; empty for all.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// The response of `SystemSharedMemoryStatus` and `CudaSharedMemoryStatus`: there are never regions.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SharedMemoryResponse {}
