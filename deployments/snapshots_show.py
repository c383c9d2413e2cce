"""``etcd-flows snapshots show`` and ``schema``: all that is known of one snapshot. Needs no Prefect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from deployments.errors import show_error
from deployments.loading import load
from deployments.snapshots_words import contents_words, copy_json
from tasks.errors import EtcdFlowsError
from tasks.reporting.human import duration, size, visible
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.find import find
from tasks.snapshots.library import open_library
from tasks.snapshots.listing import Copies, ago, grouped, proven, revision
from tasks.snapshots.manifest import to_json
from tasks.snapshots.manifest_schema import manifest_schema
from tasks.snapshots.marks import Seen


def run_show(cluster: str, snapshot: str, *, store: str, as_json: bool) -> int:
    """Show one snapshot, in all stores that have it."""
    now = datetime.now(UTC)
    try:
        with open_library(load(cluster), store) as library:
            library.demand_some()
            wanted = find(library.catalogs, snapshot, accept="any").id
            copies = next(copies for copies in grouped(library.catalogs) if copies[0].id == wanted)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    where = {catalog.store: catalog.where for catalog in library.catalogs}
    if as_json:
        manifest = to_json(copies[0].manifest)
        stores = [{**copy_json(copy, where), "marks": [_mark_json(seen) for seen in copy.marks]} for copy in copies]
        click.echo(json.dumps({"ok": True, "snapshot": copies[0].id, "manifest": manifest, "stores": stores}, indent=2))
    else:
        click.echo("\n".join(_shown(copies, where, now)))
    return 0


def run_schema() -> int:
    """Print the schema of manifests."""
    click.echo(json.dumps(manifest_schema(), indent=2))
    return 0


def _shown(copies: Copies, where: Mapping[str, str], now: datetime) -> list[str]:
    """Everything about one snapshot, for people."""
    m = copies[0].manifest
    finished = datetime.fromtimestamp(m.finished, UTC)
    lines = [
        ("snapshot", f"{m.id} ({m.kind})"),
        ("cluster", f"{m.cluster}, uuid {m.cluster_uuid or 'not known'}, etcd's id {m.etcd_cluster_id or 'not known'}"),
        (
            "imported" if m.kind == "imported" else "captured",
            f"{m.began:%Y-%m-%d %H:%M:%S} to {finished:%H:%M:%S} UTC, {ago(now, m.began)}",
        ),
        (
            "source",
            f"{m.source} ({_VIA[m.via]}), etcd {m.etcd_version or 'not known'}, held {duration(m.held_seconds)}",
        ),
        ("revision", revision(m) + (f", raft term {m.raft_term}, index {m.raft_index}" if m.raft_term else "")),
        (
            "hash-kv",
            f"{m.hashkv.hash} at revision {m.hashkv.revision}, {_compacted(m.hashkv.compact_revision)}"
            if m.hashkv
            else "not known",
        ),
        ("database", f"{size(m.db_bytes)} ({m.db_bytes} bytes), SHA-256 {m.db_sha256}"),
        ("stored as", f"{size(m.object_bytes)} ({m.object_bytes} bytes), SHA-256 {m.object_sha256}"),
        ("codec", f"compression {m.compression}, encryption {m.encryption}"),
        *(("recipient", recipient) for recipient in m.recipients),
        ("made by", f"etcd-flows {m.tool_version}, run {m.run_id or '-'}, for {m.requested_by or '-'}"),
        *([("reason", m.reason)] if m.reason else []),
        *(("note", note) for note in m.notes),
        *(
            (
                "learner" if member.learner else "member",
                f"{member.name} {member.id}, peers {', '.join(member.peer_urls)}, clients "
                f"{', '.join(member.client_urls)}",
            )
            for member in m.members
        ),
    ]
    for copy in copies:
        lines += [("", ""), ("store", f"{copy.store}: {where[copy.store]}"), *_copy_lines(copy, now)]
    width = max(len(name) for name, _ in lines)
    return [f"{name.ljust(width)}  {visible(text)}".rstrip() for name, text in lines]


def _copy_lines(copy: CatalogEntry, now: datetime) -> list[tuple[str, str]]:
    trust = "signed by the trusted key" if copy.trust == "signed" else copy.untrusted
    return [
        ("key", copy.manifest.object),
        ("trust", f"{trust}{f' ({copy.signer})' if copy.signer else ''}"),
        ("sound", f"NO: {copy.unsound}" if copy.unsound else "yes"),
        ("proven", proven(copy, now)),
        ("bundle", "yes" if copy.bundle else "no"),
        *(("mark", _mark_line(seen)) for seen in copy.marks),
    ]


_VIA = {
    "stream": "streamed to the worker",
    "host": "captured on the member",
    "file": "a file",
    "raw": "a copy of a member's database",
}


def _compacted(revision: int) -> str:
    return f"compacted to {revision}" if revision > 0 else "never compacted"


def _mark_line(seen: Seen) -> str:
    mark = seen.mark
    if mark is None:
        return f"{seen.key}: can't be read: {seen.ignored}"
    at = f"{datetime.fromtimestamp(mark.at, UTC):%Y-%m-%d %H:%M:%S} UTC by {mark.by}"
    what: str = mark.kind
    if mark.kind == "verification":
        found = mark.contents
        inside = f", {contents_words(found)}" if found else ""
        what = f"{mark.level}: good{inside}" if mark.ok else f"{mark.level}: BAD"
    reason = f": {mark.reason}" if mark.reason else ""
    ignored = f" [does not count: {seen.ignored}]" if seen.ignored else ""
    return f"{at}  {what}{reason}{ignored}"


def _mark_json(seen: Seen) -> dict[str, Any]:
    mark = asdict(seen.mark) if seen.mark else None
    return {"key": seen.key, "trust": seen.trust, "ignored": seen.ignored, "mark": mark}
