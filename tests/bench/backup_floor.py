"""What a backup can't be faster than, each as a process of its own: ``backup_floor stream|upload ...``

* ``stream ENDPOINT CA CERT KEY``: read a snapshot over Python's gRPC and throw it away.
* ``upload ENDPOINT CA BUCKET FILE``: put a file into a bucket with boto3, eight parts of 8 MiB at a time.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PART = 8 << 20


def stream(endpoint: str, ca: str, cert: str, key: str) -> None:
    from tasks.etcd.client import connect

    with connect(endpoint, Path(ca), Path(cert), Path(key)) as client, client.snapshot() as pieces:
        total = sum(len(piece) for piece in pieces)
    print(total)


def upload(endpoint: str, ca: str, bucket: str, file: str) -> None:
    import boto3
    from botocore.config import Config

    size = Path(file).stat().st_size
    config = Config(max_pool_connections=8, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": os.environ["KEY_ID"], "aws_secret_access_key": os.environ["KEY_SECRET"]}
    s3 = boto3.client("s3", endpoint_url=endpoint, verify=ca, region_name="us-east-1", config=config, **keys)
    begun = s3.create_multipart_upload(Bucket=bucket, Key="floor")["UploadId"]

    def one(number: int) -> dict[str, object]:
        with Path(file).open("rb") as handle:
            handle.seek(number * PART)
            body = handle.read(PART)
        done = s3.upload_part(Bucket=bucket, Key="floor", UploadId=begun, PartNumber=number + 1, Body=body)
        return {"PartNumber": number + 1, "ETag": done["ETag"]}

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(one, range(-(-size // PART))))
    s3.complete_multipart_upload(Bucket=bucket, Key="floor", UploadId=begun, MultipartUpload={"Parts": parts})


if __name__ == "__main__":
    {"stream": stream, "upload": upload}[sys.argv[1]](*sys.argv[2:])
