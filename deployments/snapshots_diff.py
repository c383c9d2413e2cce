"""``etcd-flows snapshots diff``: what changed between two snapshots, or since one. Needs no Prefect; shows no value."""

from __future__ import annotations

import json
from typing import Any

import click

from deployments.errors import show_error
from deployments.keys_words import Where, key_spaces, shorter
from tasks.errors import EtcdFlowsError
from tasks.keys.keyspace import Keyspace
from tasks.keys.merge import Change, Differences, side_by_side
from tasks.keys.shown import key_json, key_text
from tasks.keys.spans import below
from tasks.keys.tree import ChangeTree
from tasks.reporting.human import plural, size
from tasks.reporting.tables import as_text, table

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def run_diff(where: Where, old: str, new: str, *, prefix: str, depth: int, keys: int, as_json: bool) -> int:
    """Compare two key spaces in one pass over both."""
    base = prefix.encode(errors="surrogateescape")
    differences, tree = Differences(keys), ChangeTree(base, depth)
    try:
        with key_spaces(where, old, new, quiet=as_json) as (one, other):
            for pair in side_by_side(one.items([below(base)]), other.items([below(base)])):
                change = Change.of(pair)
                differences.add(change)
                if change.what != "unchanged":
                    tree.add(change.key, change.what)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    if as_json:
        click.echo(json.dumps({"ok": True, **_json(one, other, differences, tree)}, indent=2))
    else:
        _print(one, other, differences, tree)
    return 0


def _print(old: Keyspace, new: Keyspace, found: Differences, tree: ChangeTree) -> None:
    counts = found.counts
    click.echo(
        f"from {old.name} (revision {old.revision}) to {new.name} (revision {new.revision}): "
        f"{counts['added']} added, {counts['changed']} changed, {counts['removed']} removed, "
        f"{plural(counts['unchanged'], 'key')} unchanged"
    )
    if not found.different:
        return
    rows = [
        (key_text(prefix) or "(all)", count["added"], count["changed"], count["removed"])
        for prefix, count in sorted(tree.tree.items())
    ]
    click.echo("\n" + as_text(table(("prefix", "added", "changed", "removed"), shorter(rows))))
    if found.first:
        click.echo("")
    for change in found.first:
        click.echo(f"{_SIGNS[change.what]} {key_text(change.key)}  ({_words(change)})")
    if found.different > len(found.first) > 0:
        click.echo(f"... and {found.different - len(found.first)} more (--keys N shows N)")


def _words(change: Change) -> str:
    sizes = [size(count) for count in (change.old_bytes, change.new_bytes) if count is not None]
    return " -> ".join(sizes) + (", deleted and made again" if change.recreated else "")


def _json(old: Keyspace, new: Keyspace, found: Differences, tree: ChangeTree) -> dict[str, Any]:
    """The difference for ``--json``; keys are stable."""
    return {
        "from": {"snapshot": old.name, "revision": old.revision},
        "to": {"snapshot": new.name, "revision": new.revision},
        **{what: found.counts[what] for what in ("added", "changed", "removed", "unchanged")},
        "prefixes": [
            {"prefix": key_text(prefix), **{what: count[what] for what in _SIGNS}}
            for prefix, count in sorted(tree.tree.items())
        ],
        "keys": [
            {
                **key_json(change.key),
                "what": change.what,
                "old_bytes": change.old_bytes,
                "new_bytes": change.new_bytes,
                "recreated": change.recreated,
            }
            for change in found.first
        ],
        "keys_left_out": found.different - len(found.first),
    }
