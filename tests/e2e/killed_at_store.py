"""The product's command line, killed with SIGKILL at one call of a store: ``killed_at_store POINT VERB CLUSTER...``

Points are places in the life of a stored snapshot, so they need no sleeps:

* ``begin``: the upload has begun, nothing is written;
* ``middle``: some bytes are written;
* ``whole``: all bytes are written, the object does not exist yet;
* ``manifest``: the object exists, its manifest does not;
* ``after``: the manifest exists, nothing has been said about it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

POINTS = ("begin", "middle", "whole", "manifest", "after")


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Upload:
    def __init__(self, upload: Any, point: str) -> None:
        self._upload, self._point = upload, point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upload, name)

    def __enter__(self) -> _Upload:
        self._upload.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._upload.__exit__(*error)

    def write(self, data: bytes) -> None:
        self._upload.write(data)
        if self._point == "middle":
            _die()

    def commit(self, sha256: str = "") -> Any:
        if self._point == "whole":
            _die()
        return self._upload.commit(sha256)


def _armed(kind: type[Any], point: str) -> None:
    """Let all stores of a kind kill this process at the point."""
    upload, put = kind.upload, kind.put

    def upload_and_die(self: Any, key: str, **options: Any) -> Any:
        begun = upload(self, key, **options)
        if point == "begin":
            _die()
        return _Upload(begun, point)

    def put_and_die(self: Any, key: str, content: bytes, **options: Any) -> None:
        if point == "manifest" and key.startswith("manifests/"):
            _die()
        put(self, key, content, **options)
        if point == "after" and key.startswith("manifests/"):
            _die()

    kind.upload, kind.put = upload_and_die, put_and_die


def main() -> None:
    """Run the command line with everything but the first two arguments, which are the store's kind and the point."""
    which, point = sys.argv.pop(1), sys.argv.pop(1)
    from tasks.snapshots.stores.directory import DirectoryStore
    from tasks.snapshots.stores.s3 import S3Store

    _armed({"directory": DirectoryStore, "s3": S3Store}[which], point)
    from deployments import cli

    cli.main(prog_name="etcd-flows")


if __name__ == "__main__":
    main()
