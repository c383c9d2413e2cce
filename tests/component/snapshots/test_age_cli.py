"""What people have at three in the morning: stock age, zstd and tar. They open ours, and we open theirs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.cluster.secrets import Secret
from tasks.snapshots.age_keys import Keys, Locks
from tasks.snapshots.age_payload import CHUNK
from tasks.snapshots.codec import Codec
from tasks.snapshots.pipeline import pump
from tasks.snapshots.stores.directory import DirectoryStore
from tests.conftest import not_run
from tests.unit.snapshots.test_age import decrypted, encrypted, plain
from tests.unit.snapshots.test_bundle import bundle, cluster_with_ca
from tests.unit.snapshots.test_pipeline import snapshot, stream

TOOLS = ("age", "age-keygen", "zstd", "script", "bash", "tar")

pytestmark = [
    pytest.mark.component,
    *([] if all(map(shutil.which, TOOLS)) else [not_run(f"not all of {', '.join(TOOLS)} are installed")]),
]

WORDS = Secret("correct horse battery staple")
SIZES = (0, 1, CHUNK, CHUNK + 1, 16 * CHUNK, 40 * CHUNK + 7)


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run([str(word) for word in command], input=stdin, capture_output=True, check=True).stdout


def typed(command: str, *lines: str) -> None:
    """Run a command that asks on its terminal."""
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        input="".join(f"{line}\n" for line in lines).encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As age-keygen writes it, with its comments."""
    path = tmp_path_factory.mktemp("age") / "key.txt"
    run("age-keygen", "-o", path)
    return path


@pytest.fixture(scope="module")
def keys(key_file: Path) -> Keys:
    return Keys(Secret(key_file.read_text()))


def test_keys_are_read_alike(key_file: Path, keys: Keys) -> None:
    assert (run("age-keygen", "-y", key_file).decode().strip(),) == keys.public


@pytest.mark.parametrize("size", SIZES)
def test_files_for_a_key_both_ways(size: int, key_file: Path, keys: Keys) -> None:
    recipient = keys.public[0]
    assert run("age", "-d", "-i", key_file, stdin=encrypted(plain(size), Locks((recipient,)))) == plain(size)
    assert decrypted(run("age", "-r", recipient, stdin=plain(size)), keys) == plain(size)


def test_stock_age_refuses_what_we_refuse(key_file: Path, keys: Keys) -> None:
    whole = encrypted(plain(3 * CHUNK), Locks(keys.public))
    for data in (whole[:-1], whole + b"x", whole[: -(CHUNK + 16)], b"x" + whole[1:]):
        with pytest.raises(subprocess.CalledProcessError):
            run("age", "-d", "-i", key_file, stdin=data)


def test_files_for_a_passphrase_both_ways(tmp_path: Path) -> None:
    ours, theirs, out, source = (tmp_path / name for name in ("ours.age", "theirs.age", "out", "source"))
    ours.write_bytes(encrypted(plain(3 * CHUNK), Locks(passphrase=WORDS)))
    typed(f"age -d -o {out} {ours}", WORDS.reveal())
    assert out.read_bytes() == plain(3 * CHUNK)
    source.write_bytes(plain(CHUNK + 5))
    typed(f"age -p -o {theirs} {source}", WORDS.reveal(), WORDS.reveal())
    assert decrypted(theirs.read_bytes(), Keys(passphrase=WORDS)) == plain(CHUNK + 5)


def test_a_whole_backup_is_opened_by_stock_tools(key_file: Path, keys: Keys, tmp_path: Path) -> None:
    data, key = snapshot(9 * 1024 * 1024), "data/x/snapshot.db.zst.age"
    store = DirectoryStore("local", tmp_path, "prod-a")
    pump(stream(data), Codec("zstd", Locks(keys.public)), {"local": store.upload(key)})
    opened = f"set -o pipefail; age -d -i {key_file} {tmp_path}/prod-a/{key} | zstd -dc"
    assert run("bash", "-c", opened) == data


def test_a_bundle_is_opened_by_stock_tools(key_file: Path, keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "bundle.age"
    path.write_bytes(bundle(cluster_with_ca(tmp_path), Locks(keys.public)))
    names = run("bash", "-c", f"set -o pipefail; age -d -i {key_file} {path} | tar t").decode().split()
    assert names == ["README.txt", "bundle.json", "ca.crt", "ca.key", "cluster.yaml"]
