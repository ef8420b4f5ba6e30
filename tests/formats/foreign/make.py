#!/usr/bin/env python3
"""Makes the files of this folder: what nuwave's own writers cannot make. Their readers are tested by tests/formats/foreign.rs.

    python3 make.py        # in this folder; needs numpy, h5py 3.16 with HDF5 2, hdf5plugin and pyarrow

Every group of waveforms has the same 24 rows of 40 samples (row r, sample s: (40 r + s) * 31 modulo 5000), events 100 + row and
channels row modulo 3, unless it says otherwise.
"""

import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N, M = 24, 40
SAMPLES = (np.arange(N * M) * 31 % 5000).astype(np.uint16).reshape(N, M)
EVENTS = 100 + np.arange(N, dtype=np.uint64)
CHANNELS = np.arange(N, dtype=np.uint32) % 3


def ids(group):
    group["event_id"] = EVENTS
    group["channel_id"] = CHANNELS
    return group


def low_level(group, name, file_type, data, shape=None):
    """Writes `data` as elements of a type that h5py has no name for."""
    space = h5py.h5s.create_simple(shape or data.shape)
    h5py.h5d.create(group.id, name.encode(), file_type, space).write(h5py.h5s.ALL, h5py.h5s.ALL, data)


# Soft links in groups of the old format: to the numbers of the waveforms, to a group, and to nothing.
with h5py.File("links_old.h5", "w") as f:
    ids(f.create_group("daq"))
    g = f.create_group("run7")
    g["samples"] = SAMPLES
    g["event_id"] = h5py.SoftLink("/daq/event_id")
    g["channel_id"] = h5py.SoftLink("/daq/channel_id")
    f["latest"] = h5py.SoftLink("run7")
    f["lost"] = h5py.SoftLink("/gone")

# The same in a group of the new format with so many members that they are in a heap, and a link out of the file.
with h5py.File("links_new.h5", "w", libver="latest") as f:
    ids(f.create_group("daq"))
    g = f.create_group("run7")
    g["samples"] = SAMPLES
    for i in range(12):
        g[f"note{i}"] = np.int8(i)
    g["event_id"] = h5py.SoftLink("/daq/event_id")
    g["channel_id"] = h5py.SoftLink("/daq/channel_id")
    f["next"] = h5py.ExternalLink("next.h5", "/")

# Events that are known by a link only, and the link leads nowhere.
with h5py.File("links_broken.h5", "w") as f:
    f["samples"] = SAMPLES
    f["event_id"] = h5py.SoftLink("/daq/event_id")

# External links, which h5py puts into groups of the old format with links as messages: next to the samples, in a group of so many
# members that the links are in a heap, to groups and nothing else, and next to hits.
with h5py.File("links_external.h5", "w") as f:
    for name in ("event_id", "channel_id", "start_ns", "many"):
        g = ids(f.create_group(name))
        g["samples"] = SAMPLES
        if name == "many":
            for i in range(12):
                g[f"note{i}"] = np.int8(i)
            name = "event_id"
        if name in g:
            del g[name]
        g[name] = h5py.ExternalLink("ids.h5", f"/daq/{name}")
    g = ids(f.create_group("hits"))
    g["time_ns"] = np.full(N, 250.0)
    g["charge_pe"] = h5py.ExternalLink("charges.h5", "/npe")
with h5py.File("links_master.h5", "w") as f:
    f["run1"] = h5py.ExternalLink("a.h5", "/raw")
    f["run2"] = h5py.ExternalLink("b.h5", "/raw")

# A group under two names, both hard links.
with h5py.File("links_hard.h5", "w") as f:
    g = ids(f.create_group("run7"))
    g.create_dataset("samples", data=SAMPLES, chunks=(7, M), compression="gzip")
    f["latest"] = g

# Version 5 of the layout message with every index of chunks.
with h5py.File("layout5.h5", "w", libver="latest") as f:
    for name, options in {
        "single": {"chunks": (N, M)},
        "fixed": {"chunks": (7, M)},
        "extensible": {"chunks": (7, M), "maxshape": (None, M)},
        "tree": {"chunks": (7, 16), "maxshape": (None, None)},
    }.items():
        ids(f.create_group(name)).create_dataset("samples", data=SAMPLES, compression="gzip", shuffle=True, **options)

# Filters that are plugins for the HDF5 library. Chunks of 7 x 40 leave elements that fill no block.
with h5py.File("codecs.h5", "w", libver=("earliest", "v110")) as f:
    for name, options in {
        "lz4": hdf5plugin.LZ4(),
        "zstandard": hdf5plugin.Zstd(),
        "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
        "bitshuffle_lz4": hdf5plugin.Bitshuffle(nelems=64),
        "bitshuffle_zstandard": hdf5plugin.Bitshuffle(cname="zstd"),
        "blosc_blosclz": hdf5plugin.Blosc(cname="blosclz"),
        "blosc_lz4_bits": hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.BITSHUFFLE),
        "blosc_snappy": hdf5plugin.Blosc(cname="snappy"),
        "blosc_zlib": hdf5plugin.Blosc(cname="zlib"),
        "blosc_zstd": hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.NOSHUFFLE),
        "shuffle_zstandard_checked": {"shuffle": True, "fletcher32": True, **hdf5plugin.Zstd()},
    }.items():
        ids(f.create_group(name)).create_dataset("samples", data=SAMPLES, chunks=(7, M), **options)

# What is refused, with its name.
with h5py.File("unread.h5", "w", libver=("earliest", "v110")) as f:
    for name, options in {
        "szip": {"compression": "szip"},
        "blosc2": hdf5plugin.Blosc2(),
        "bzip2": hdf5plugin.BZip2(),
    }.items():
        f.create_group(name).create_dataset("samples", data=SAMPLES, chunks=(7, M), **options)
    layout = h5py.VirtualLayout((N, M), "u2")
    layout[:] = h5py.VirtualSource("source.h5", "s", (N, M))
    f.create_group("virtual").create_virtual_dataset("samples", layout)
    f.create_group("external").create_dataset("samples", (N, M), "u2", external=[("source.raw", 0, N * M * 2)])
    bfloat = h5py.h5t.IEEE_F32LE.copy()
    bfloat.set_fields(15, 7, 8, 0, 7)
    bfloat.set_precision(16)
    bfloat.set_size(2)
    bfloat.set_ebias(127)
    low_level(f.create_group("bfloat16"), "samples", bfloat, SAMPLES.astype("f4"))
    rows = f.create_group("rows").create_dataset("samples", (N,), h5py.vlen_dtype(np.uint16))
    for i in range(N):
        rows[i] = SAMPLES[i, : 32 + i % 8]
    # Two gains in every record, as a field and as an array type, and a channel for each row of an array of three axes.
    record = np.dtype([("event_id", "<u8"), ("channel_id", "<u4"), ("waveform", "<u2", (2, M))])
    table = np.zeros(N // 2, record)
    table["waveform"] = SAMPLES.reshape(-1, 2, M)
    f.create_group("gains")["table"] = table
    pairs = h5py.h5t.array_create(h5py.h5t.STD_U16LE, (2, M))
    g = f.create_group("pairs")
    space = h5py.h5s.create_simple((N // 2,))
    h5py.h5d.create(g.id, b"samples", pairs, space).write(h5py.h5s.ALL, h5py.h5s.ALL, SAMPLES.reshape(-1, 2, M), pairs)
    g = f.create_group("both")
    g["samples"] = SAMPLES.reshape(-1, 2, M)
    g["channel_id"] = CHANNELS[: N // 2]

# Numbers of unusual types: half floats, an enumeration, 14 bits in words of 16, 12 bits that begin at bit 4, most significant byte first.
with h5py.File("types.h5", "w", libver=("earliest", "v110")) as f:
    ids(f.create_group("half"))["samples"] = (SAMPLES / 4).astype(np.float16)
    ids(f.create_group("enumeration")).create_dataset(
        "samples", data=SAMPLES.astype("i2"), dtype=h5py.enum_dtype({"LOW": 0}, basetype="i2")
    )
    fourteen = h5py.h5t.STD_U16LE.copy()
    fourteen.set_precision(14)
    low_level(ids(f.create_group("fourteen")), "samples", fourteen, SAMPLES)
    shifted = h5py.h5t.STD_I16BE.copy()
    shifted.set_precision(12)
    shifted.set_offset(4)
    low_level(ids(f.create_group("shifted")), "samples", shifted, (SAMPLES % 4096).astype(np.int16) - 2048)

# Events x channels x samples: 8 x 3, with channels 7, 5, 9 in one group and none in the other.
with h5py.File("axes.h5", "w", libver=("earliest", "v110")) as f:
    g = f.create_group("listed")
    g.create_dataset("samples", data=SAMPLES.reshape(8, 3, M), chunks=(3, 2, 16), compression="gzip")
    g["event_id"] = EVENTS[:8]
    g["channel_id"] = np.array([7, 5, 9], np.uint32)
    f.create_group("plain")["samples"] = SAMPLES.reshape(8, 3, M)
    f.create_group("swapped")["samples"] = np.ascontiguousarray(SAMPLES.reshape(8, 3, M).transpose(0, 2, 1))

# A writer that was killed leaves its mark in the superblock, which has a checksum.
with h5py.File("marked.h5", "w", libver="latest") as f:
    ids(f.create_group("waveforms"))["samples"] = SAMPLES
    f.flush()
    f.swmr_mode = True
    f.flush()
    marked = open("marked.h5", "rb").read()
open("marked.h5", "wb").write(marked)

pq.write_table(
    pa.table({"event_id": EVENTS, "channel_id": CHANNELS, "samples": pa.array(SAMPLES.tolist(), pa.list_(pa.uint16()))}),
    "brotli.parquet",
    compression="brotli",
)
