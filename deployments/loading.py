"""The cluster file, for commands that work without Prefect."""

from __future__ import annotations

from tasks.cluster.load import load_cluster
from tasks.cluster.secrets import set_block_reader
from tasks.cluster.spec import Cluster


def load(cluster: str) -> Cluster:
    """Read and check the cluster file.

    Raises:
        InputError: With every problem of the file.
    """
    set_block_reader(_read_block)
    return load_cluster(cluster).cluster


def _read_block(name: str) -> str:
    from flows.secret_blocks import read_block  # Prefect, only for those who keep secrets there

    return read_block(name)
