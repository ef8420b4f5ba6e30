//! How Triton describes its models to clients that look for them before the first inference, as those of SONIC do.

use super::messages::ModelRequest;
use super::repository_messages::{
    DataType, LatestVersions, ModelConfig, ModelConfigResponse, ModelIndex, ModelInput,
    ModelOutput, ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    SharedMemoryRequest, SharedMemoryResponse, VersionPolicy,
};
use super::{KServe, Model, PLATFORM, VERSION, results, tensors};
use crate::service::rejection::{Reason, Rejection};

/// The only input that requests may leave out.
const OPTIONAL_INPUT: &str = "start_ns";

impl KServe {
    /// Returns all models with their states.
    pub(super) fn index(
        &self,
        request: &RepositoryIndexRequest,
    ) -> Result<RepositoryIndexResponse, Rejection> {
        if !request.repository_name.is_empty() {
            return Err(Rejection::new(
                Reason::Unknown,
                format!(
                    "there is no repository `{}`; leave the name empty",
                    request.repository_name
                ),
            ));
        }
        let models = Model::ALL.into_iter().map(|model| {
            let available = self.model(model.name(), "");
            let ready = self.state.check_ready();
            let (state, reason) = match available.and(ready) {
                Ok(()) => ("READY", String::new()),
                Err(rejection) => ("UNAVAILABLE", rejection.message),
            };
            ModelIndex {
                name: model.name().to_owned(),
                version: VERSION.to_owned(),
                state: state.to_owned(),
                reason,
            }
        });
        Ok(RepositoryIndexResponse {
            models: models
                .filter(|model| !request.ready || model.state == "READY")
                .collect(),
        })
    }

    /// Returns the configuration of a model.
    pub(super) fn config(&self, request: &ModelRequest) -> Result<ModelConfigResponse, Rejection> {
        let model = self.model(&request.name, &request.version)?;
        Ok(ModelConfigResponse {
            config: Some(config(model)),
        })
    }

    /// Returns the statistics of a model, or of all if the request names none.
    pub(super) fn statistics(
        &self,
        request: &ModelRequest,
    ) -> Result<ModelStatisticsResponse, Rejection> {
        let models = if request.name.is_empty() {
            Model::ALL
                .into_iter()
                .filter(|model| self.model(model.name(), "").is_ok())
                .collect()
        } else {
            vec![self.model(&request.name, &request.version)?]
        };
        let statistics = models
            .into_iter()
            .map(|model| self.statistics_of(model).message(model.name(), VERSION));
        Ok(ModelStatisticsResponse {
            model_stats: statistics.collect(),
        })
    }
}

/// Returns the regions of shared memory: there are none, since tensors are in the messages.
pub(super) fn shared_memory(
    request: &SharedMemoryRequest,
) -> Result<SharedMemoryResponse, Rejection> {
    if request.name.is_empty() {
        return Ok(SharedMemoryResponse {});
    }
    Err(Rejection::new(
        Reason::Unknown,
        format!("there is no region of shared memory `{}`", request.name),
    ))
}

fn config(model: Model) -> ModelConfig {
    let output = |name: &str, datatype: &str| ModelOutput {
        name: name.to_owned(),
        data_type: DataType::by_name(datatype).into(),
        dims: vec![-1],
    };
    let input = tensors::INPUTS
        .iter()
        .map(|(name, datatype, shape)| ModelInput {
            name: (*name).to_owned(),
            data_type: DataType::by_name(datatype).into(),
            dims: shape.to_vec(),
            optional: *name == OPTIONAL_INPUT,
        });
    ModelConfig {
        name: model.name().to_owned(),
        platform: PLATFORM.to_owned(),
        version_policy: Some(VersionPolicy {
            latest: Some(LatestVersions { num_versions: 1 }),
        }),
        max_batch_size: 0,
        input: input.collect(),
        output: match model {
            Model::Waveform => results::WAVEFORM_OUTPUTS
                .iter()
                .map(|it| output(it.name, it.datatype))
                .collect(),
            Model::Event => results::EVENT_OUTPUTS
                .iter()
                .map(|it| output(it.name, it.datatype))
                .collect(),
        },
        backend: PLATFORM.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_has_a_type_that_triton_knows() {
        for model in Model::ALL {
            let config = config(model);
            let types = config.input.iter().map(|it| it.data_type);
            let types = types.chain(config.output.iter().map(|it| it.data_type));
            for data_type in types {
                assert_ne!(data_type, i32::from(DataType::Invalid), "{config:?}");
            }
            assert_eq!(config.max_batch_size, 0);
            assert_eq!(config.input.len(), 4);
        }
    }
}
