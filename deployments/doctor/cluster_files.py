"""Which cluster files there are, whether they are good, and whether the secrets that they name can be had."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from deployments.served_clusters import cluster_directories, cluster_files
from tasks.cluster.load import ClusterFileError, find_cluster_file, load_cluster
from tasks.cluster.references import secret_references
from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Cluster, SecretRef
from tasks.errors import InputError
from tasks.findings import Finding
from tasks.reporting.human import plural

#: The check whose errors, for a cluster that was named, are bad input.
CHECK = "cluster file"
#: Only needed by those who read snapshots, and judged with what it opens (:mod:`deployments.doctor.keys`).
_FOR_LATER = "snapshots.identity"


def read_clusters(cluster: str | None, environ: Mapping[str, str]) -> tuple[dict[str, Cluster], list[Finding]]:
    """The clusters that can be read, by what they are called, and what is to be said of their files.

    Args:
        cluster: The one that is meant, None for all in the directories.
        environ: Names the directories.
    """
    if cluster is not None:
        try:
            file = find_cluster_file(cluster, environ)
            files = {file.stem: file}  # its path would leave no room for what is said
        except ClusterFileError as error:
            return {}, list(_problems(cluster, error))
        found: list[Finding] = []
    else:
        files, found = _all_files(environ)
    clusters: dict[str, Cluster] = {}
    for name, file in files.items():
        try:
            loaded = load_cluster(file, environ)
        except ClusterFileError as error:
            found += _problems(name, error)
            continue
        clusters[name] = loaded.cluster
        members = plural(len(loaded.cluster.hosts), "member")
        found.append(Finding("ok", CHECK, f"{file}: good, {members}", name))
        found += [
            Finding(
                "warning", CHECK, f"line {problem.line}: {problem.key}: {problem.message}", name, problem.hint or ""
            )
            for problem in loaded.warnings
        ]
        found += open_to_others(file, name)
    return clusters, found


def _all_files(environ: Mapping[str, str]) -> tuple[dict[str, Path], list[Finding]]:
    files: dict[str, Path] = {}
    found = []
    for directory in cluster_directories(environ):
        if not directory.is_dir() and environ.get("ETCD_FLOWS_CLUSTERS"):
            remedy = "correct ETCD_FLOWS_CLUSTERS, or make the directory"
            found.append(Finding("error", CHECK, f"$ETCD_FLOWS_CLUSTERS names {directory}: no directory", None, remedy))
        for file in cluster_files(directory):
            if (other := files.setdefault(file.stem, file)) != file:
                text = f"both {other} and {file} have that name"
                found.append(Finding("error", CHECK, text, file.stem, "rename one"))
    if not files:
        places = ", ".join(map(str, cluster_directories(environ)))
        remedy = "fine if you give paths; else put NAME.yaml there, or set ETCD_FLOWS_CLUSTERS"
        found.append(Finding("warning", CHECK, f"no cluster file in {places}", None, remedy))
    return files, found


def _problems(name: str, error: ClusterFileError) -> Iterator[Finding]:
    for problem in error.problems:
        line = f":{problem.line}" if problem.line else ""
        words = [f"{problem.file}{line}" if problem.file != name else "", problem.key, problem.message]
        if problem.severity == "error":
            text = ": ".join(word for word in words if word)
            remedy = f"hint: {problem.hint}" if problem.hint else "see the reference of all keys"
            yield Finding("error", CHECK, text, name, remedy)


def open_to_others(file: Path, name: str) -> list[Finding]:
    """A finding if anybody may change the file: it names commands and addresses that runs as root go by."""
    if file.stat().st_mode & stat.S_IWOTH:
        text = f"{file} can be changed by everybody on this machine, and with it what flows do as root"
        return [Finding("error", CHECK, text, name, f"see who changed it, then: chmod o-w {file}")]
    return []


def check_secrets(name: str, cluster: Cluster, environ: Mapping[str, str]) -> list[Finding]:
    """Whether the secrets of a cluster file can be had here; they are looked up, and forgotten.

    Those in Prefect's blocks are left to :mod:`deployments.doctor.prefect_api`.
    """
    references = [(key, ref) for key, ref in secret_references(cluster) if ref.kind != "block" and key != _FOR_LATER]
    found = []
    for key, ref in references:
        try:
            resolve(ref, environ)
        except InputError as error:
            found.append(Finding("error", "secrets", f"{key}: {error.message}", name, f"{ref}: {error.remedy}"))
        else:
            found += _group_can_read(name, key, ref)
    if references and not found:
        return [Finding("ok", "secrets", f"{plural(len(references), 'reference')}, all can be looked up", name)]
    return found


def _group_can_read(name: str, key: str, ref: SecretRef) -> list[Finding]:
    if ref.kind == "file" and os.stat(ref.name).st_mode & stat.S_IRGRP:  # noqa: PTH116 - a link is followed
        text = f"{key}: the group of {ref.name} may read it"
        return [Finding("warning", "secrets", text, name, f"chmod 600 {ref.name}, unless that group is meant to")]
    return []
