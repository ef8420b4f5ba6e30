#!/usr/bin/env python3
"""Sends a file of waveforms to `nuwave serve` as a Triton client would (KServe v2 over gRPC).

    nuwave serve -d juno &
    python examples/kserve_client.py testdata/juno8-npz.npz hits.npz

Needs numpy and tritonclient (pip install 'tritonclient[grpc]'). All waveforms of a request have the same length.
"""

import argparse
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

HITS = [
    "hit_offsets",
    "hit_event_id",
    "hit_channel_id",
    "hit_time_ns",
    "hit_charge_pe",
    "hit_charge_sigma_pe",
    "hit_time_sigma_ns",
    "hit_flags",
]


def waveforms_of(path):
    """Returns event_id, channel_id and samples of a .npz file."""
    if not path.endswith(".npz"):
        sys.exit(f"{path}: this example reads .npz")
    file = np.load(path)
    return file["event_id"], file["channel_id"], file["samples"]


def inputs_of(event_id, channel_id, samples):
    """Returns the input tensors of a request."""
    tensors = []
    for name, values, kind in [
        ("samples", samples.astype(np.uint16), "UINT16"),
        ("channel_id", channel_id.astype(np.uint32), "UINT32"),
        ("event_id", event_id.astype(np.uint64), "UINT64"),
    ]:
        tensor = triton.InferInput(name, list(values.shape), kind)
        tensor.set_data_from_numpy(np.ascontiguousarray(values))
        tensors.append(tensor)
    return tensors


def infer(client, path, rows=1024, model="waveform", outputs=HITS, headers=None, stream=False):
    """Sends the file in requests of `rows` waveforms. Returns the concatenated arrays of all responses."""
    event_id, channel_id, samples = waveforms_of(path)
    requests = [slice(begin, begin + rows) for begin in range(0, len(samples), rows)]
    wanted = [triton.InferRequestedOutput(name) for name in outputs]
    responses = []
    if stream:
        arrived = queue.Queue()
        client.start_stream(lambda result, error: arrived.put((result, error)), headers=headers)
        for part in requests:
            client.async_stream_infer(model, inputs_of(event_id[part], channel_id[part], samples[part]), outputs=wanted)
        for _ in requests:
            result, error = arrived.get(timeout=600)
            if error is not None:
                raise error
            responses.append(result)
        client.stop_stream()
    else:
        for part in requests:
            tensors = inputs_of(event_id[part], channel_id[part], samples[part])
            responses.append(client.infer(model, tensors, outputs=wanted, headers=headers))
    arrays = {name: [response.as_numpy(name) for response in responses] for name in outputs}
    if "hit_offsets" in arrays:
        # The offsets of each response start at 0.
        joined = [np.zeros(1, np.uint64)]
        for offsets in arrays["hit_offsets"]:
            joined.append(offsets[1:] + joined[-1][-1])
        arrays["hit_offsets"] = joined
    return {name: np.concatenate(parts) for name, parts in arrays.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="file of waveforms (.npz)")
    parser.add_argument("output", help=".npz file to write")
    parser.add_argument("--address", default="127.0.0.1:8815", help="HOST:PORT")
    parser.add_argument("--rows", type=int, default=1024, help="waveforms per request")
    parser.add_argument("--stream", action="store_true", help="one stream of requests instead of unary requests")
    parser.add_argument("--token-file", help="file with the token")
    parser.add_argument("--certificates", help="certificate authority of the service, PEM")
    arguments = parser.parse_args()
    client = triton.InferenceServerClient(
        arguments.address, ssl=arguments.certificates is not None, root_certificates=arguments.certificates
    )
    headers = None
    if arguments.token_file:
        headers = {"authorization": "Bearer " + open(arguments.token_file).read().strip()}
    arrays = infer(client, arguments.input, arguments.rows, headers=headers, stream=arguments.stream)
    np.savez(arguments.output, **arrays)
    print(f"{len(arrays['hit_offsets']) - 1} waveforms sent, {len(arrays['hit_time_ns'])} hits in {arguments.output}")


if __name__ == "__main__":
    main()
