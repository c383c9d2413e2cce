"""Secrets are found where they are said to be, and show themselves nowhere."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.cluster.secrets import Secret, resolve, set_block_reader
from tasks.cluster.spec import SecretRef
from tasks.errors import InputError

VALUE = "S3cr3t-hunter2"


@pytest.fixture(autouse=True)
def _no_block_reader() -> Iterator[None]:
    yield
    set_block_reader(None)


def write(path: Path, data: bytes, mode: int = 0o600) -> SecretRef:
    path.write_bytes(data)
    path.chmod(mode)
    return SecretRef("file", str(path))


def test_it_shows_itself_only_when_asked() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    for text in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>40}",
        "{}".format(secret),  # noqa: UP032 - a way that others take
        repr([secret]),
        str(dir(secret)),
    ):
        assert VALUE not in text
    for store in (pickle.dumps, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as caught:
            store(secret)
        assert VALUE not in str(caught.value)


def test_from_the_environment() -> None:
    assert resolve(SecretRef("env", "PW"), {"PW": VALUE}).reveal() == VALUE
    assert resolve(SecretRef("env", "PW"), {"PW": VALUE + "\n"}).reveal() == VALUE + "\n"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"pw", "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b"pw\n\n", "pw\n"),
        (b" p w \n", " p w "),
        ("pässword\n".encode(), "pässword"),
    ],
)
def test_from_a_file_without_its_last_newline(tmp_path: Path, data: bytes, value: str) -> None:
    assert resolve(write(tmp_path / "pw", data)).reveal() == value


def test_from_a_block() -> None:
    set_block_reader({"secret/pw": VALUE}.__getitem__)
    assert resolve(SecretRef("block", "secret/pw")).reveal() == VALUE


def test_refusals_name_the_reference_and_never_the_value(tmp_path: Path) -> None:
    def failing(name: str) -> str:
        raise RuntimeError(f"{name} holds {VALUE}")

    set_block_reader(failing)
    os.mkfifo(tmp_path / "pipe")
    refused = {
        SecretRef("env", "PW_UNSET"): "not set",
        SecretRef("env", "PW_EMPTY"): "empty",
        write(tmp_path / "open", VALUE.encode(), 0o644): "everyone on this machine may read",
        write(tmp_path / "bytes", VALUE.encode() + b"\xff"): "not UTF-8",
        write(tmp_path / "big", VALUE.encode() * 10_000): "64 KiB",
        write(tmp_path / "newline", b"\n"): "empty",
        SecretRef("file", str(tmp_path)): "directory|regular file",
        SecretRef("file", str(tmp_path / "pipe")): "not a regular file",
        SecretRef("file", str(tmp_path / "none")): "No such file",
        SecretRef("file", "/a\0b"): "not a path",
        SecretRef("block", "secret/pw"): "RuntimeError",
    }
    for ref, reason in refused.items():
        with pytest.raises(InputError, match=reason) as caught:
            resolve(ref, {"PW_EMPTY": ""})
        assert str(ref) in str(caught.value)
        assert caught.value.remedy
        assert VALUE not in str(caught.value)
        assert VALUE not in repr(caught.value.__cause__)


def test_blocks_need_a_reader() -> None:
    with pytest.raises(InputError, match="only within a flow run"):
        resolve(SecretRef("block", "secret/pw"))


def test_a_block_without_text_is_refused() -> None:
    set_block_reader(lambda name: 5)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match="no text"):
        resolve(SecretRef("block", "secret/pw"))
