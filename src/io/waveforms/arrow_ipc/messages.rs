//! Headers of Arrow messages, checked before anything is decoded or allocated for them.

use arrow_ipc::{Message, MessageHeader};

/// Returns the length of the body, if all buffers of the message lie inside it.
pub(super) fn body_bytes(message: &Message<'_>) -> Option<u64> {
    let body = u64::try_from(message.bodyLength()).ok()?;
    let records = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch()?,
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch()?.data()?,
        _ => return Some(body),
    };
    u64::try_from(records.length()).ok()?;
    for buffer in records.buffers()? {
        let end = u64::try_from(buffer.offset())
            .ok()?
            .checked_add(u64::try_from(buffer.length()).ok()?)?;
        if end > body {
            return None;
        }
    }
    for node in records.nodes()? {
        let rows = u64::try_from(node.length()).ok()?;
        if u64::try_from(node.null_count()).ok()? > rows {
            return None;
        }
    }
    Some(body)
}

/// Returns the size of a record batch with this body and its buffers uncompressed; `None` if the declared sizes are invalid.
pub(super) fn unpacked_bytes(message: &Message<'_>, body: &[u8]) -> Option<u64> {
    match unpacked(message, body) {
        None => Some(body.len() as u64),
        Some(mut claims) => claims.try_fold(body.len() as u64, u64::checked_add),
    }
}

/// Returns the declared uncompressed sizes of the buffers of a record batch with this body; `None` if nothing is compressed.
fn unpacked<'a>(message: &Message<'a>, body: &'a [u8]) -> Option<impl Iterator<Item = u64> + 'a> {
    let records = message.header_as_record_batch()?;
    records.compression()?;
    let claims = records.buffers()?.iter().filter_map(move |buffer| {
        let begin = usize::try_from(buffer.offset()).ok()?;
        let claimed = body.get(begin..)?.first_chunk::<8>()?;
        (buffer.length() >= 8).then(|| u64::try_from(i64::from_le_bytes(*claimed)).unwrap_or(0))
    });
    Some(claims)
}
