"""The cluster files that deployments are made for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.cluster.load import load_cluster
from tasks.cluster.secrets import set_block_reader
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError, Several

#: Come with the package to be copied from; no cluster of anybody's.
_SHIPPED = Path(__file__).resolve().parent / "clusters"
_EXAMPLES = frozenset({"example", "full"})


def cluster_directories(environ: Mapping[str, str]) -> list[Path]:
    """Where cluster files are looked for, absolute: $ETCD_FLOWS_CLUSTERS, else ./deployments/clusters."""
    listed = [Path(item) for item in environ.get("ETCD_FLOWS_CLUSTERS", "").split(os.pathsep) if item]
    return [directory.expanduser().resolve() for directory in listed or [Path("deployments/clusters")]]


def cluster_files(directory: Path) -> list[Path]:
    """The cluster files in a directory, without the examples that come with the package."""
    found = sorted([*directory.glob("*.yaml"), *directory.glob("*.yml")])
    return [file for file in found if directory != _SHIPPED or file.stem not in _EXAMPLES]


def served_clusters(environ: Mapping[str, str], only: Sequence[str] = ()) -> dict[str, Cluster]:
    """All clusters that have a file, by the file's name without its ending.

    Args:
        environ: Names the directories, see :func:`cluster_directories`.
        only: Just these names; all if empty.

    Raises:
        InputError: There is none, or one is in two directories.
        Several: Files are wrong; with every problem of all of them.
    """
    files: dict[str, Path] = {}
    for directory in cluster_directories(environ):
        for file in cluster_files(directory):
            if file.stem in files:
                raise InputError(f"both {files[file.stem]} and {file} are cluster {file.stem!r}", remedy="rename one")
            files[file.stem] = file
    missing = [name for name in only if name not in files]
    if missing or not files:
        where = ", ".join(str(directory) for directory in cluster_directories(environ))
        what = f"no cluster file {missing[0]}.yaml" if missing else "no cluster file"
        raise InputError(
            f"there is {what} in {where}", remedy="put it there, or set ETCD_FLOWS_CLUSTERS to the directory it is in"
        )
    return _read({name: file for name, file in files.items() if not only or name in only})


def _read(files: Mapping[str, Path]) -> dict[str, Cluster]:
    set_block_reader(lambda name: "")  # whether a secret can be had is the workers' concern
    found: dict[str, Cluster] = {}
    wrong: list[EtcdFlowsError] = []
    for name, file in files.items():
        try:
            found[name] = load_cluster(file).cluster
        except EtcdFlowsError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise Several("cluster files are wrong, nothing was registered", wrong)
    return found
