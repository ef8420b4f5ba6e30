#!/usr/bin/env python3
"""Sends a file of waveforms to `nuwave serve` over Arrow Flight and writes the response to a Parquet file.

    nuwave serve -d juno &
    python examples/flight_client.py testdata/juno8-arrow.arrow hits.parquet

Needs pyarrow (pip install pyarrow). A second thread sends the waveforms while the first one reads the responses.
"""

import argparse
import json
import sys
import threading

import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq


def batches_of(path, rows):
    """Yields the schema, then record batches of at most `rows` waveforms with event_id, channel_id, samples and optionally start_ns."""
    if path.endswith((".arrow", ".feather")):
        with pa.memory_map(path) as source:
            reader = pa.ipc.open_file(source)
            yield reader.schema
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                for begin in range(0, batch.num_rows, rows):
                    yield batch.slice(begin, rows)
    elif path.endswith(".parquet"):
        file = pq.ParquetFile(path)
        yield file.schema_arrow
        yield from file.iter_batches(batch_size=rows)
    else:
        sys.exit(f"{path}: this example reads .arrow, .feather and .parquet")


def connect(address, token=None, certificates=None):
    """Returns a client and the options of its requests."""
    if address.startswith("unix:"):
        location = "grpc+unix://" + address.removeprefix("unix:")
    elif certificates:
        location = "grpc+tls://" + address
    else:
        location = "grpc://" + address
    roots = open(certificates, "rb").read() if certificates else None
    client = flight.FlightClient(location, tls_root_certs=roots)
    headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
    return client, flight.FlightCallOptions(headers=headers)


def exchange(client, options, path, command, rows=1024):
    """Sends the file at `path`. Returns the table of the response, and the metadata of each of its batches."""
    parts = batches_of(path, rows)
    schema = next(parts)
    descriptor = flight.FlightDescriptor.for_command(json.dumps(command))
    writer, reader = client.do_exchange(descriptor, options)
    failed = []

    def send():
        try:
            writer.begin(schema)
            for batch in parts:
                writer.write_batch(batch)
            writer.done_writing()
        except Exception as error:  # the reader receives the reason from the service
            failed.append(error)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    batches, metadata = [], []
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            break
        batches.append(chunk.data)
        metadata.append(json.loads(chunk.app_metadata.to_pybytes() or b"{}"))
    sending.join()
    if failed:
        raise failed[0]
    table = pa.Table.from_batches(batches, schema=reader.schema)
    writer.close()
    return table, metadata


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="file of waveforms (.arrow, .feather, .parquet)")
    parser.add_argument("output", help="Parquet file to write")
    parser.add_argument("--address", default="127.0.0.1:8815", help="HOST:PORT or unix:PATH")
    parser.add_argument("--output-table", default="hits", choices=["hits", "waveforms", "events"])
    parser.add_argument("--method", help="deconvolution, sparse, auto, integral or coti")
    parser.add_argument("--calibration", help="name of a calibration of the service")
    parser.add_argument("--rows", type=int, default=1024, help="waveforms per message")
    parser.add_argument("--token-file", help="file with the token")
    parser.add_argument("--certificates", help="certificate authority of the service, PEM")
    arguments = parser.parse_args()
    token = open(arguments.token_file).read().strip() if arguments.token_file else None
    client, options = connect(arguments.address, token, arguments.certificates)
    command = {"output": arguments.output_table}
    if arguments.method:
        command["method"] = arguments.method
    if arguments.calibration:
        command["calibration"] = arguments.calibration
    try:
        table, metadata = exchange(client, options, arguments.input, command, arguments.rows)
    except pa.ArrowException as error:
        # The message of the service, without the address and the trace that gRPC appends.
        sys.exit("error: " + str(error).split(". gRPC client debug context")[0].split("with message: ")[-1])
    pq.write_table(table, arguments.output)
    waveforms = sum(it.get("waveforms", 0) for it in metadata)
    backends = sorted({it["backend"] for it in metadata if "backend" in it})
    print(f"{waveforms} waveforms sent, {table.num_rows} {arguments.output_table} in {arguments.output}, by {', '.join(backends)}")


if __name__ == "__main__":
    main()
