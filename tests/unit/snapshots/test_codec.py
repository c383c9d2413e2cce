from __future__ import annotations

import gzip
import itertools
import json
import os
import random
from collections.abc import Iterator
from functools import cache
from typing import Literal

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import DecryptionError, SnapshotError
from tasks.snapshots import codec
from tasks.snapshots.codec import MIB, SAMPLE_BYTES, Codec, Encoder, choose_compression, decode
from tests.unit.snapshots.test_age import KEYS, LOCKS

CODECS = [Codec(), Codec("zstd"), Codec("none", LOCKS), Codec("zstd", LOCKS)]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def encoded(data: bytes, codec: Codec, size: int = 300_000) -> bytes:
    encoder = Encoder(codec)
    return b"".join([*(encoder.update(piece) for piece in pieces(data, size)), encoder.finish()])


def decoded(data: bytes, codec: Codec, size: int = 65_536) -> bytes:
    return b"".join(decode(pieces(data, size), codec.compression, codec.encryption, KEYS))


@cache
def objects(size: int) -> bytes:
    """Kubernetes-like JSON, as an etcd holds it."""
    rng, out, total = random.Random(4), list[bytes](), 0
    for number in itertools.count():
        uid = "".join(rng.choices("0123456789abcdef", k=32))
        labels = {"app": f"web-{number % 50}", "pod-template-hash": uid[:10]}
        meta = {"name": f"web-{uid[:8]}", "uid": uid, "resourceVersion": str(number), "labels": labels}
        spec = {"containers": [{"name": f"c{n}", "image": f"registry/web:{uid[:7]}", "env": labels} for n in range(6)]}
        out.append(json.dumps({"kind": "Pod", "metadata": meta, "spec": spec}).encode())
        total += len(out[-1])
        if total >= size:
            return b"".join(out)[:size]
    raise AssertionError


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data", [b"", b"x", objects(3 * MIB + 11), bytes(70 * MIB)], ids=["none", "one", "json", "0"])
def test_what_was_encoded_comes_back_in_small_pieces(codec: Codec, data: bytes) -> None:
    stored = encoded(data, codec)
    back = list(decode(pieces(stored, 50_000), codec.compression, codec.encryption, KEYS))
    assert b"".join(back) == data
    assert max(map(len, back), default=0) <= MIB


@given(st.binary(max_size=5000), st.integers(1, 500), st.integers(1, 500), st.sampled_from(CODECS))
@settings(max_examples=60)
def test_pieces_of_any_size_will_do(data: bytes, cut: int, other: int, codec: Codec) -> None:
    assert decoded(encoded(data, codec, cut), codec, other) == data


def test_stock_formats_both_ways() -> None:
    data = objects(2 * MIB)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(encoded(data, Codec("zstd"))) == data
    for level, checksum, known_size in itertools.product((1, 9), (True, False), (True, False)):
        engine = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=known_size)
        for content in (data[:400_000], b"", bytes(MIB), os.urandom(300_000)):
            assert decoded(engine.compress(content), Codec("zstd")) == content


@given(st.data(), st.integers(1, 255))
@settings(max_examples=120)
def test_any_changed_byte_of_a_compressed_snapshot_is_noticed(data: st.DataObject, mask: int) -> None:
    """But in the frame's head, where a bit may mean nothing (RFC 8878, 3.1.1.1.1.3: unused bit)."""
    plain = objects(400_000)
    stored = bytearray(encoded(plain, Codec("zstd")))
    stored[data.draw(st.integers(6, len(stored) - 1))] ^= mask
    with pytest.raises(SnapshotError, match="changed or cut off"):
        decoded(bytes(stored), Codec("zstd"))


@given(st.data())
@settings(max_examples=60)
def test_a_compressed_snapshot_that_was_cut_off_or_added_to_is_noticed(data: st.DataObject) -> None:
    stored = encoded(objects(400_000), Codec("zstd"))
    with pytest.raises(SnapshotError, match=r"its end is missing|does not begin"):
        decoded(stored[: data.draw(st.integers(0, len(stored) - 1))], Codec("zstd"))
    for more in (b"x", stored, stored[:7]):
        with pytest.raises(SnapshotError, match="bytes were added"):
            decoded(stored + more, Codec("zstd"))


def test_damage_below_encryption_is_told_as_such() -> None:
    stored = bytearray(encoded(objects(MIB), Codec("zstd", LOCKS)))
    stored[-5000] ^= 1
    with pytest.raises(DecryptionError, match="the key is right, but"):
        decoded(bytes(stored), Codec("zstd", LOCKS))


def test_a_window_too_large_for_this_machine_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(SnapshotError, match="zstd says"):
        decoded(engine.compress(objects(MIB)) + engine.flush(), Codec("zstd"))


@given(st.binary(max_size=3000), st.integers(1, 999))
def test_gzip_of_one_or_several_members_is_read(data: bytes, size: int) -> None:
    once = gzip.compress(data)
    assert b"".join(decode(pieces(once, size), "gzip", "none")) == data
    assert b"".join(decode(pieces(once + once, size), "gzip", "none")) == data + data


def test_gzip_in_bounded_memory_and_with_its_end() -> None:
    once = gzip.compress(bytes(30 * MIB))
    assert max(map(len, decode(iter([once]), "gzip", "none"))) <= MIB
    for bad in (once[:-1], once[:100], b"", b"rubbish", once + b"x", once[:-6] + b"\0" + once[-5:]):
        with pytest.raises(SnapshotError, match=r"gzip says|its end is missing"):
            list(decode(iter([bad]), "gzip", "none"))


@pytest.mark.parametrize(
    ("sample", "choice"),
    [(os.urandom(SAMPLE_BYTES), "none"), (objects(SAMPLE_BYTES), "zstd"), (b"", "none"), (bytes(16_384), "zstd")],
    ids=["random", "json", "empty", "small"],
)
def test_auto_looks_at_the_first_bytes(sample: bytes, choice: str) -> None:
    chosen, again = choose_compression(pieces(sample, 30_000), "auto")
    assert chosen == choice
    assert b"".join(again) == sample


@pytest.mark.parametrize("setting", ["zstd", "none"])
def test_who_has_chosen_is_obeyed(setting: Literal["zstd", "none"]) -> None:
    data = iter([os.urandom(1000)])
    assert choose_compression(data, setting) == (setting, data)


@given(st.lists(st.binary(max_size=50)), st.integers(1, 300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_looking_at_the_first_bytes_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, parts: list[bytes], size: int
) -> None:
    monkeypatch.setattr(codec, "SAMPLE_BYTES", size)
    taken = iter(parts)
    _, again = choose_compression(taken, "auto")
    left = len(b"".join(list(taken)))
    assert left == 0 or len(b"".join(parts)) - left >= size
    _, again = choose_compression(iter(parts), "auto")
    assert b"".join(again) == b"".join(parts)
