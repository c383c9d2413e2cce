"""Memory while a large object goes up: bounded, also when the server is slower than what comes."""

from __future__ import annotations

import subprocess
import sys

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server

BOUND = 40  # MiB: four parts of 5 MiB, and what boto3 needs for its requests

UPLOAD = """
import sys
from dataclasses import replace
from pathlib import Path
from tasks.cluster.secrets import Secret
from tasks.snapshots.stores.s3 import S3Store
from tasks.snapshots.stores.s3_client import Credentials
from tests.s3.server import nowhere

def peak():
    return int(next(line for line in Path("/proc/self/status").open() if line.startswith("VmHWM")).split()[1]) // 1024

endpoint, bucket, key, secret, size = sys.argv[1:]
settings = replace(nowhere(), endpoint=endpoint, bucket=bucket)
store = S3Store("offsite", settings, "prod-a", Credentials(Secret(key), Secret(secret), None))
store.put("first", b"request")
before, piece = peak(), bytes(1 << 20)
with store.upload("data/x") as upload:
    for _ in range(int(size)):
        upload.write(piece)
    upload.commit()
print(peak() - before)
"""


def test_memory_is_bounded(s3_server: S3Server, s3_proxy: FaultProxy) -> None:
    s3_proxy.add(method="PUT", contains="partNumber", delay=0.05)
    owner = s3_server.owner
    argv = [
        sys.executable,
        "-c",
        UPLOAD,
        s3_proxy.endpoint,
        s3_server.make_bucket(),
        owner.access_key,
        owner.secret_key,
    ]
    done = subprocess.run([*argv, "96"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < BOUND
