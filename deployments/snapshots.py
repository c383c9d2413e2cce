"""``etcd-flows snapshots``: the words of it. Nothing heavy is imported before a command runs; Prefect not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deployments.cli_help import Whole
from deployments.cli_options import cluster_argument

if TYPE_CHECKING:
    from deployments.keys_words import Where

Command = TypeVar("Command", bound=Callable[..., Any])

_cluster = cluster_argument
_snapshot = click.argument("snapshot")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
_store = click.option(
    "--store", default="", metavar="NAME", help="Only this store; all of the cluster file by default."
)
_accept = click.option(
    "--accept-untrusted",
    is_flag=True,
    help="Also a snapshot that is not signed by the trusted key: anyone who can write to the store may have made it.",
)


@click.group(cls=Whole)
def snapshots() -> None:
    """What backups there are, and work on them.

    SNAPSHOT is `latest`, an id or the beginning of one, or 'before 2026-11-24T14:30' (UTC, or with an offset: +01:00).
    """


@snapshots.command("list")
@_cluster
@_store
@click.option("--since", default="", metavar="TIME", help="Begun since: 2026-11-24T14:30, or 7d for the last week.")
@click.option("--before", default="", metavar="TIME", help="Begun before: the same.")
@click.option("--verified", is_flag=True, help="Only those that were opened or restored and found good.")
@click.option("--pinned", is_flag=True, help="Only those that somebody pinned.")
@click.option(
    "--kind", type=click.Choice(["scheduled", "manual", "safety", "imported"]), help="Only those made for this reason."
)
@_json
def list_(cluster: str, as_json: bool, **filters: Any) -> None:
    """All snapshots, the newest first; damaged and forged ones are shown as what they are."""
    from deployments.snapshots_list import run_list

    sys.exit(run_list(cluster, as_json=as_json, **filters))


@snapshots.command()
@_cluster
@_snapshot
@_store
@_json
def show(cluster: str, snapshot: str, store: str, as_json: bool) -> None:
    """Everything that is known of one snapshot."""
    from deployments.snapshots_show import run_show

    sys.exit(run_show(cluster, snapshot, store=store, as_json=as_json))


@snapshots.command()
@_cluster
@_snapshot
@click.argument("destination", type=click.Path(path_type=Path), required=False)
@_store
@_accept
@_json
def fetch(
    cluster: str, snapshot: str, destination: Path | None, store: str, accept_untrusted: bool, as_json: bool
) -> None:
    """Get a snapshot as a plain database file, decrypted, decompressed and checked; by default ./ID.db."""
    from deployments.snapshots_work import run_fetch

    sys.exit(run_fetch(cluster, snapshot, destination, store=store, accept_untrusted=accept_untrusted, as_json=as_json))


_scratch = click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where there is room for the database, twice; the system's temporary directory by default.",
)
_depth = click.option(
    "--depth", default=2, show_default=True, type=click.IntRange(0), help="Parts of a key told apart below the prefix."
)


@snapshots.command()
@_cluster
@_snapshot
@click.argument("prefix", default="")
@_depth
@click.option(
    "--resource", "resources", multiple=True, help="Instead of PREFIX, of Kubernetes: pods, deployments.apps, ..."
)
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Those in it; all that is in it if alone.")
@click.option("--name", "names", multiple=True, help="Objects of this name, with --resource.")
@click.option("--keys", "list_first", default=0, type=click.IntRange(0), help="List so many keys, in their order.")
@click.option("--largest", default=10, show_default=True, type=click.IntRange(0), help="How many of the largest keys.")
@click.option("--kubernetes-prefix", "registry", default="/registry", show_default=True, help="Of the API server.")
@click.option("--value", "key", default="", metavar="KEY", help="Tell about this one key instead; not its value.")
@click.option("--out", type=click.Path(path_type=Path), help="New file, readable by you alone, for that key's value.")
@_scratch
@_store
@_accept
@_json
def browse(cluster: str, snapshot: str, prefix: str, key: str, out: Path | None, **options: Any) -> None:
    """What is in a snapshot: keys and bytes below each prefix, by Kubernetes resource and namespace; no values."""
    from deployments.snapshots_browse import run_browse, run_value

    if out and not key:
        raise click.UsageError("--out is for the value of a key: say --value KEY")
    if prefix and any(options[name] for name in ("resources", "namespaces", "names")):
        raise click.UsageError("say PREFIX, or --resource, --namespace, --name")
    where = _where(cluster, options)
    if not key:
        sys.exit(run_browse(where, snapshot, prefix, **options))
    sys.exit(run_value(where, snapshot, key, out, as_json=options["as_json"]))


@snapshots.command()
@_cluster
@click.argument("old", metavar="SNAPSHOT")
@click.argument("new", metavar="SNAPSHOT|now")
@click.option("--prefix", default="", help="Only keys that begin so.")
@_depth
@click.option("--keys", default=20, show_default=True, type=click.IntRange(0), help="How many changed keys to show.")
@_scratch
@_store
@_accept
@_json
def diff(cluster: str, old: str, new: str, **options: Any) -> None:
    """What was added, changed and removed between two snapshots, or since one: `now` is the running cluster."""
    from deployments.snapshots_diff import run_diff

    sys.exit(run_diff(_where(cluster, options), old, new, **options))


def _where(cluster: str, options: dict[str, Any]) -> Where:
    """Whose snapshots are meant: takes that out of the options."""
    from deployments.keys_words import Where

    return Where(cluster, *(options.pop(name) for name in ("store", "scratch", "accept_untrusted")))


@snapshots.command()
@_cluster
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT...")
@click.option(
    "--level",
    type=click.Choice(["stored", "opened"]),
    default="opened",
    show_default=True,
    help="stored: read back and hash; opened: also decrypt, and check as a database.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where the database is put for that; the system's temporary directory by default.",
)
@_store
@_json
def verify(
    cluster: str, snapshots: tuple[str, ...], level: Any, scratch: Path | None, store: str, as_json: bool
) -> None:
    """Prove snapshots again from what the stores hold today. Exit code 1 if one is bad; retention goes by it too."""
    from deployments.snapshots_verify import run_verify

    sys.exit(run_verify(cluster, snapshots, level=level, store=store, scratch=scratch, as_json=as_json))


@snapshots.command()
@_cluster
@click.argument("snapshots", nargs=-1, metavar="[SNAPSHOT]...")
@click.option("--from", "source", required=True, metavar="STORE", help="Store that has them.")
@click.option("--to", "target", required=True, metavar="STORE", help="Store that gets them.")
@click.option(
    "--pin", "pin_reason", default="", metavar="REASON", help="Pin the copies; else retention may remove them."
)
@_json
def copy(cluster: str, snapshots: tuple[str, ...], source: str, target: str, pin_reason: str, as_json: bool) -> None:
    """Copy snapshots into another store, byte for byte and compared; all sound ones it lacks if none is named."""
    from deployments.snapshots_copy import run_copy

    sys.exit(run_copy(cluster, snapshots, source=source, target=target, pin_reason=pin_reason, as_json=as_json))


@snapshots.command()
@_cluster
@_snapshot
@click.option("--reason", required=True, help="Why it is to stay; people will read it.")
@_store
@_json
def pin(cluster: str, snapshot: str, reason: str, store: str, as_json: bool) -> None:
    """Keep a snapshot whatever retention says, in all stores that have it."""
    from deployments.snapshots_work import run_pin

    sys.exit(run_pin(cluster, snapshot, reason, store=store, as_json=as_json))


@snapshots.command()
@_cluster
@_snapshot
@click.option("--reason", default="", help="Why it may go now.")
@_store
@_json
def unpin(cluster: str, snapshot: str, reason: str, store: str, as_json: bool) -> None:
    """Leave a snapshot to retention again."""
    from deployments.snapshots_work import run_unpin

    sys.exit(run_unpin(cluster, snapshot, reason, store=store, as_json=as_json))


@snapshots.command("import")
@_cluster
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--reason", default="", metavar="TEXT", help="Why, and where it comes from; kept in the manifest.")
@click.option(
    "--etcd-version",
    default="",
    metavar="VERSION",
    help="Of the etcd it comes from; as the cluster by default.",
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where it is unpacked and opened; the system's temporary directory by default.",
)
@_store
@_json
def import_(
    cluster: str, file: Path, reason: str, etcd_version: str, scratch: Path | None, store: str, as_json: bool
) -> None:
    """Take in a snapshot by etcdctl, a copy of member/snap/db, or a full one of etcd-backup-restore (gardener)."""
    from deployments.snapshots_import import run_import

    sys.exit(
        run_import(cluster, file, store=store, reason=reason, etcd_version=etcd_version, where=scratch, as_json=as_json)
    )


@snapshots.command()
@_cluster
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--from", "place", default="", metavar="PLACE", help="/DIRECTORY or s3://BUCKET/PREFIX; CLUSTER is a name."
)
@click.option("--endpoint", default="", metavar="URL", help="S3 server, unless it is AWS's own.")
@click.option("--region", default="", metavar="NAME", help="Of the S3 server.")
@click.option("--ca", default="", metavar="FILE", help="CA of the S3 server's certificate.")
@click.option("--signer", default="", metavar="KEY", help="Public key that snapshots are signed for (ed25519:...).")
@click.option("--identity", default="", metavar="FILE", help="Secret key of age that opens the backups.")
@click.option("--passphrase", default="", metavar="REF", help="Passphrase instead, by reference (env:NAME, file:PATH).")
@click.option("--snapshot", default="latest", show_default=True, help="Of which snapshot.")
@click.option("--host", "hosts", multiple=True, metavar="NAME=ADDRESS", help="A new host; repeatable.")
@_accept
@_json
def bundle(cluster: str, destination: Path, as_json: bool, **options: Any) -> None:
    """All hosts and this machine are gone: get cluster file and CA out of the store, into a new directory.

    With --from, CLUSTER is the lost cluster's name and no cluster file is needed. Credentials of S3 are taken from the
    environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or a profile.
    """
    from deployments.snapshots_bundle import run_bundle

    sys.exit(run_bundle(cluster, destination, as_json=as_json, **options))


@snapshots.command()
@_cluster
@_json
def key(cluster: str, as_json: bool) -> None:
    """Print the public key that snapshots are signed for: pin it as snapshots.signing.public_key."""
    from deployments.snapshots_work import run_key

    sys.exit(run_key(cluster, as_json=as_json))


@snapshots.command()
def schema() -> None:
    """Print the JSON Schema of manifests."""
    from deployments.snapshots_show import run_schema

    sys.exit(run_schema())
