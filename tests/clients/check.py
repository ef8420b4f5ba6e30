"""Checks that clients of `nuwave serve` receive the same tables as `nuwave reconstruct` writes, bit for bit.

    python tests/clients/check.py NUWAVE          needs pyarrow, numpy and tritonclient[grpc]

Runs the programs in examples/ as their documentation says, then their functions with eight concurrent clients.
"""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.flight as flight
import pyarrow.parquet as pq
import tritonclient.grpc as triton

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
import flight_client
import kserve_client

NUWAVE = sys.argv[1]


def nuwave(*arguments):
    subprocess.run([NUWAVE, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def serving(*arguments):
    """Runs a service and yields its address."""
    command = [NUWAVE, "serve", "--listen", "127.0.0.1:0", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("ready: "):
                break
        else:
            sys.exit("the service did not start:\n" + "".join(lines))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield line.removeprefix("ready: ").strip()
        process.terminate()
        assert process.wait(timeout=60) == 0, "SIGTERM ends the service with 0"
    finally:
        process.kill()


def table(folder, name):
    """Reads a table of an output folder without input_id."""
    read = pa.dataset.dataset(folder / name, format="parquet").to_table()
    return read.drop_columns(["input_id"])


def same(expected, found, what):
    assert found.schema.equals(expected.schema), f"{what}: {found.schema} instead of {expected.schema}"
    assert found.num_rows == expected.num_rows, f"{what}: {found.num_rows} rows instead of {expected.num_rows}"
    for name in expected.column_names:
        mine, theirs = expected[name].to_numpy(), found[name].to_numpy()
        # Bitwise: NaN equals NaN, and 0 differs from -0.
        assert mine.tobytes() == theirs.tobytes(), f"{what}: column {name} differs"


def same_tensors(expected, found, what):
    for tensor, column in [
        ("hit_event_id", "event_id"),
        ("hit_channel_id", "channel_id"),
        ("hit_time_ns", "time_ns"),
        ("hit_charge_pe", "charge_pe"),
        ("hit_charge_sigma_pe", "charge_sigma_pe"),
        ("hit_flags", "flags"),
    ]:
        mine = expected[column].to_numpy()
        assert mine.dtype == found[tensor].dtype, f"{what}: {tensor} is {found[tensor].dtype}"
        assert mine.tobytes() == found[tensor].tobytes(), f"{what}: {tensor} differs"


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        light = ["--detector", "juno", "--channels", "300", "--events", "20", "--mean-pe", "2", "--seed", "4"]
        for ending in ["arrow", "parquet", "npz"]:
            nuwave("simulate", "waveforms", *light, "-o", folder / f"a.{ending}", "--quiet")
        nuwave("reconstruct", folder / "a.arrow", "-d", "juno", "-o", folder / "out", "--quiet")
        expected = {name: table(folder / "out", name) for name in ["hits", "waveforms", "events"]}
        assert expected["hits"].num_rows > 5000 and expected["events"].num_rows == 20
        with serving("-d", "juno") as address:
            check(folder, address, expected)
    print("clients receive the same tables as a pass over the file")


def check(folder, address, expected):
    # The programs, as their documentation says.
    for module, output in [(flight_client, "hits.parquet"), (kserve_client, "hits.npz")]:
        command = next(line.split() for line in module.__doc__.splitlines() if line.strip().startswith("python "))
        assert command[3] == output
        command = [sys.executable, *command[1:3], folder / output, "--address", address]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    # The programs with all their outputs.
    for what in ["hits", "waveforms", "events"]:
        out = folder / f"{what}.parquet"
        program = [sys.executable, ROOT / "examples/flight_client.py", folder / "a.arrow", out]
        subprocess.run([*program, "--address", address, "--output-table", what], check=True, stdout=subprocess.DEVNULL)
        same(expected[what], pq.read_table(out), f"flight_client.py, {what}")
    out = folder / "hits.npz"
    program = [sys.executable, ROOT / "examples/kserve_client.py", folder / "a.npz", out, "--address", address]
    for stream in [[], ["--stream"]]:
        subprocess.run([*program, *stream], check=True, stdout=subprocess.DEVNULL)
        same_tensors(expected["hits"], np.load(out), f"kserve_client.py {stream}")

    # Metadata.
    client, options = flight_client.connect(address)
    flights = {info.descriptor.command.decode(): info for info in client.list_flights()}
    assert len(flights) == 3
    descriptor = flight.FlightDescriptor.for_command('{"output": "hits"}')
    schema = client.get_schema(descriptor).schema
    assert schema.equals(client.get_flight_info(descriptor).schema)
    assert schema.equals(expected["hits"].schema)
    assert list(client.list_actions()) == []
    server = triton.InferenceServerClient(address)
    assert server.is_server_live() and server.is_server_ready()
    assert server.is_model_ready("waveform") and server.is_model_ready("event")
    assert server.get_server_metadata().name == "nuwave"
    metadata = server.get_model_metadata("waveform")
    assert {it.name: it.datatype for it in metadata.inputs}["samples"] == "UINT16"
    for wrong in ["hit", ""]:
        try:
            server.get_model_metadata(wrong)
            sys.exit(f"there is no model {wrong!r}")
        except triton.InferenceServerException as error:
            assert "NOT_FOUND" in str(error.status()), error
    try:
        flight_client.exchange(client, options, str(folder / "a.arrow"), {"output": "hit"})
        sys.exit("there is no output `hit`")
    except pa.ArrowInvalid as error:
        assert "malformed command" in str(error), error

    # Events over KServe; requests contain complete events.
    columns = ["event_id", "x_mm", "energy_mev", "n_channels_hit", "flags"]
    events = kserve_client.infer(server, str(folder / "a.npz"), 300 * 5, "event", columns)
    for name in columns:
        assert expected["events"][name].to_numpy().tobytes() == events[name].tobytes(), f"event: {name} differs"

    # Eight concurrent clients with different message sizes.
    failed = []

    def one(number):
        try:
            rows = [1000, 64, 7, 300][number % 4]
            if number % 2:
                own, calls = flight_client.connect(address)
                found, _ = flight_client.exchange(own, calls, str(folder / "a.parquet"), {"output": "hits"}, rows)
                same(expected["hits"], found, f"client {number}, {rows} rows")
            else:
                own = triton.InferenceServerClient(address)
                found = kserve_client.infer(own, str(folder / "a.npz"), rows, stream=number % 4 == 2)
                same_tensors(expected["hits"], found, f"client {number}, {rows} rows")
        except BaseException as error:
            failed.append(f"client {number}: {error!r}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


main()
