"""``etcd-flows snapshots browse``: what is in a snapshot. Needs no host and no Prefect. Values are never shown."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from deployments.errors import show_error
from deployments.keys_words import Where, key_spaces, shorter
from tasks.errors import EtcdFlowsError, InputError
from tasks.keys.keyspace import Keyspace
from tasks.keys.objects import look_at
from tasks.keys.selection import select
from tasks.keys.shown import key_json, key_text
from tasks.keys.spans import only
from tasks.keys.tree import Contents, Weight
from tasks.reporting.human import plural, size
from tasks.reporting.tables import as_text, table


def run_browse(
    where: Where,
    snapshot: str,
    prefix: str,
    *,
    resources: tuple[str, ...],
    namespaces: tuple[str, ...],
    names: tuple[str, ...],
    depth: int,
    largest: int,
    list_first: int,
    registry: str,
    as_json: bool,
) -> int:
    """Show how many keys and bytes are below which prefix, the largest keys, and the first keys by name.

    Args:
        prefix: Only what begins so; if objects of Kubernetes are chosen, empty.
    """
    try:
        prefixes = [] if resources or namespaces or names else [prefix]
        chosen = select((), prefixes, resources, namespaces, names, registry)
        contents = Contents(prefix.encode(errors="surrogateescape"), depth, largest, registry, list_first)
        with key_spaces(where, snapshot, quiet=as_json) as (keyspace,):
            for item in keyspace.items(chosen.read):
                if item.key in chosen:
                    contents.add(item)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    if as_json:
        click.echo(json.dumps({"ok": True, **_json(keyspace, contents)}, indent=2))
    else:
        _print(keyspace, contents)
    return 0


def run_value(where: Where, snapshot: str, key: str, out: Path | None, *, as_json: bool) -> int:
    """Tell about one key; its value goes into a file that only its owner can read, if one is named."""
    try:
        with key_spaces(where, snapshot, quiet=as_json) as (keyspace,):
            found = next(keyspace.items([only(key.encode(errors="surrogateescape"))]), None)
        if found is None:
            raise InputError(
                f"snapshot {keyspace.name} has no key {key_text(key.encode(errors='surrogateescape'))}",
                remedy="see which there are: the same command with a PREFIX and without --value",
            )
        if out is not None:
            _write(out, found.value)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    facts: dict[str, Any] = {
        "create_revision": found.create_revision,
        "mod_revision": found.mod_revision,
        "version": found.version,
        "lease": f"{found.lease:x}" if found.lease else "",
        "bytes": len(found.value),
        "sha256": hashlib.sha256(found.value).hexdigest(),
        "encrypted": look_at(found.value).encrypted,
        "written_to": str(out) if out else "",
    }
    if as_json:
        click.echo(json.dumps({"ok": True, "snapshot": keyspace.name, **key_json(found.key), **facts}, indent=2))
        return 0
    click.echo(f"{key_text(found.key)} in {keyspace.name}")
    click.echo(as_text(table(("", ""), [(name, value) for name, value in facts.items() if value != ""]), indent="  "))
    if out is None:
        click.echo("The value is not shown, since it may be secret: --out FILE writes it where only you can read it.")
    return 0


def _write(path: Path, value: bytes) -> None:
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(value)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}", remedy="give another path") from error


def _print(keyspace: Keyspace, contents: Contents) -> None:
    total = contents.total
    leased = f", {contents.leased} of them bound to a lease" if contents.leased else ""
    click.echo(
        f"{keyspace.name}, revision {keyspace.revision}: {plural(total.keys, 'key')}, {size(total.bytes)}{leased}"
    )
    if not total.keys:
        return
    rows = [
        (key_text(prefix) or "(all)", weight.keys, size(weight.bytes), f"{100 * weight.bytes / total.bytes:.0f} %")
        for prefix, weight in sorted(contents.tree.items())
    ]
    click.echo("\n" + as_text(table(("prefix", "keys", "bytes", ""), shorter(rows))))
    for what, weights in (("resource", contents.resources), ("namespace", contents.namespaces)):
        if weights:
            heaviest = sorted(weights.items(), key=lambda item: (-item[1].bytes, item[0]))
            lines = [(key_text(name.encode()), weight.keys, size(weight.bytes)) for name, weight in heaviest]
            click.echo("\n" + as_text(table((what, "keys", "bytes"), shorter(lines))))
    listed = [(key_text(one.key), size(one.bytes), one.revision) for one in contents.listed]
    if listed:
        click.echo("\n" + as_text(table(("key", "value", "changed at revision"), listed)))
        if total.keys > len(listed):
            click.echo(f"... and {total.keys - len(listed)} more (--keys N lists N)")
    biggest = [(key_text(key), size(length), revision) for length, key, revision in contents.biggest]
    if biggest:
        click.echo("\n" + as_text(table(("largest keys", "value", "changed at revision"), biggest)))


def _json(keyspace: Keyspace, contents: Contents) -> dict[str, Any]:
    """What is in it for ``--json``; keys are stable."""
    return {
        "snapshot": keyspace.name,
        "revision": keyspace.revision,
        "keys": contents.total.keys,
        "bytes": contents.total.bytes,
        "leased": contents.leased,
        "tree": [
            {"prefix": key_text(prefix), "keys": weight.keys, "bytes": weight.bytes}
            for prefix, weight in sorted(contents.tree.items())
        ],
        "resources": _weights(contents.resources),
        "namespaces": _weights(contents.namespaces),
        "listed": [
            {
                **key_json(one.key),
                "bytes": one.bytes,
                "mod_revision": one.revision,
                "object": asdict(one.object) if one.object else None,
            }
            for one in contents.listed
        ],
        "largest": [
            {**key_json(key), "bytes": length, "mod_revision": revision} for length, key, revision in contents.biggest
        ],
    }


def _weights(weights: Mapping[str, Weight]) -> dict[str, Any]:
    return {name: {"keys": weight.keys, "bytes": weight.bytes} for name, weight in sorted(weights.items())}
