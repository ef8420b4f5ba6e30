//! The codec of inference requests. Checks a request before it is decoded, because a small message may decode to a large one.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use super::messages::InferRequest;
use crate::service::rejection::Rejection;

/// The maximum number of tensors, requested tensors, parameters and raw contents together.
const MAX_FIELDS: usize = 256;
/// The maximum size of a tensor with listed values, in bytes. Raw contents are separate.
const MAX_LISTED_BYTES: u64 = 1 << 20;
/// The number of the field `inputs`.
const INPUTS: u32 = 5;

/// The codec of methods with [`InferRequest`] as request and `A` as response.
pub struct InferCodec<A>(PhantomData<A>);

impl<A> Default for InferCodec<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A: Message + Send + 'static> Codec for InferCodec<A> {
    type Encode = A;
    type Decode = InferRequest;
    type Encoder = <ProstCodec<A, InferRequest> as Codec>::Encoder;
    type Decoder = InferDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<A, InferRequest>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        InferDecoder
    }
}

/// The decoder of requests.
pub struct InferDecoder;

impl Decoder for InferDecoder {
    type Item = InferRequest;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<InferRequest>, Status> {
        check(bytes.chunk())?;
        let request = InferRequest::decode(bytes);
        Ok(Some(request.map_err(|error| {
            Rejection::malformed(format!("the request cannot be decoded: {error}"))
        })?))
    }
}

/// Rejects requests with many small fields or long lists of values. The decoder reports all other errors.
fn check(mut bytes: &[u8]) -> Result<(), Rejection> {
    let mut fields = 0;
    while bytes.has_remaining() {
        let Ok((field, wire_type)) = decode_key(&mut bytes) else {
            return Ok(());
        };
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(Rejection::malformed(format!(
                "the request has more than {MAX_FIELDS} fields"
            )));
        }
        if wire_type != WireType::LengthDelimited {
            if skip_field(wire_type, field, &mut bytes, DecodeContext::default()).is_err() {
                return Ok(());
            }
            continue;
        }
        let Ok(length) = decode_varint(&mut bytes) else {
            return Ok(());
        };
        if field == INPUTS && length > MAX_LISTED_BYTES {
            return Err(Rejection::malformed(format!(
                "an input has {length} bytes of listed values, more than {MAX_LISTED_BYTES}; send the values as raw contents"
            )));
        }
        if length > bytes.len() as u64 {
            return Ok(());
        }
        bytes.advance(length as usize);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::kserve::messages::{InputTensor, TensorContents};

    #[test]
    fn many_fields_and_long_lists_are_rejected_before_they_are_decoded() {
        let with = |inputs: usize, listed: usize| InferRequest {
            inputs: vec![
                InputTensor {
                    contents: Some(TensorContents {
                        uint: vec![7; listed],
                        ..TensorContents::default()
                    }),
                    ..InputTensor::default()
                };
                inputs
            ],
            raw_input_contents: vec![vec![0; 8 << 20].into()],
            ..InferRequest::default()
        };
        assert!(check(&with(3, 1000).encode_to_vec()).is_ok());
        let rejected = check(&with(300, 0).encode_to_vec()).expect_err("300 fields");
        assert!(rejected.message.contains("more than 256 fields"));
        let rejected = check(&with(1, 2 << 20).encode_to_vec()).expect_err("2 MiB of values");
        assert!(rejected.message.contains("raw contents"));
        // Damaged messages are left to the decoder.
        for damaged in [&[0x2a][..], &[0x2a, 0xff], &[0x07], &[0xff; 12]] {
            assert!(check(damaged).is_ok());
        }
    }
}
