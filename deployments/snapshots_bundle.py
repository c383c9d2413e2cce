"""``etcd-flows snapshots bundle``: what is needed besides the data, when all hosts are gone. Needs no Prefect."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from deployments.errors import show_error
from deployments.loading import load
from tasks.cluster.build_snapshots import build_snapshots
from tasks.cluster.model_snapshots import SnapshotsSection
from tasks.cluster.spec import Cluster, EtcdSettings, PkiSettings, Release, SnapshotSettings
from tasks.cluster.surroundings import Surroundings
from tasks.errors import EtcdFlowsError, InputError
from tasks.snapshots.age_keys import keys_of
from tasks.snapshots.bundle import Bundle
from tasks.snapshots.catalog import CatalogEntry
from tasks.snapshots.library import open_library
from tasks.snapshots.recover import Place, find_bundle, lay_out, new_cluster_file
from tasks.snapshots.signing import trusted_key

_UNTOUCHED = "nothing was touched"


def run_bundle(
    cluster: str,
    destination: Path,
    *,
    place: str,
    endpoint: str,
    region: str,
    ca: str,
    signer: str,
    identity: str,
    passphrase: str,
    snapshot: str,
    hosts: tuple[str, ...],
    accept_untrusted: bool,
    as_json: bool,
) -> int:
    """Get a bundle out of a store and lay it out."""
    try:
        known = Place(_store(place, endpoint, region, ca), signer, _file(identity), passphrase) if place else None
        spec = _nameless(cluster, known) if known else load(cluster)
        new = [_host(text) for text in hosts]
        with open_library(spec) as library:
            library.demand_some()
            keys, trusted = keys_of(spec.snapshots), trusted_key(spec)
            entry, bundle = find_bundle(library, keys, snapshot, "untrusted" if accept_untrusted else "sound", trusted)
        _demand_name(bundle, spec.name)
        was = bundle.files.get("cluster.yaml")
        if was is None:
            raise InputError(
                f"the bundle of {entry.id} holds no cluster file",
                state="nothing was written",
                remedy="take another one with --snapshot",
            )
        written = lay_out(bundle, destination, new_cluster_file(was, known, new, _head(bundle, told=bool(new))))
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    if as_json:
        facts = {**bundle.facts, "trust": bundle.trust, "files": list(written), "directory": str(destination)}
        click.echo(json.dumps({"ok": True, **facts}, indent=2))
    else:
        click.echo(_told(spec, entry, bundle, destination, written, hosts_told=bool(new)))
    return 0


def _store(place: str, endpoint: str, region: str, ca: str) -> dict[str, Any]:
    """The place as a store of a cluster file."""
    if not place.startswith("s3://"):
        return {"name": "recovered", "directory": os.path.abspath(place)}  # noqa: PTH100 - Path.absolute keeps ..
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    more = {"prefix": prefix, "endpoint": endpoint, "region": region, "ca": _absolute(ca)}
    return {"name": "recovered", "s3": {"bucket": bucket, **{key: value for key, value in more.items() if value}}}


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""


def _file(path: str) -> str:
    return f"file:{_absolute(path)}" if path else ""


def _host(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals and address):
        raise InputError(f"{text!r} is no host", state=_UNTOUCHED, remedy="--host etcd-11=10.1.0.11")
    return name, address


def _nameless(name: str, place: Place) -> Cluster:
    """A cluster of which nothing is known but its name and where its backups are."""
    around = Surroundings(Path.cwd(), os.environ)
    try:
        settings = build_snapshots(SnapshotsSection.model_validate(place.section(), strict=False), around)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise InputError(said, state=_UNTOUCHED, remedy="see `etcd-flows snapshots bundle --help`") from None
    return _bare(name, settings, around)


def _bare(name: str, snapshots: SnapshotSettings, around: Surroundings) -> Cluster:
    nowhere = around.state_home / "etcd-flows" / name / "recovering"
    return Cluster(
        name=name,
        hosts=(),
        release=Release("", "official", None, around.home / ".cache" / "etcd-flows"),
        etcd=EtcdSettings("etcd", 0, "periodic", "", 0, 0, None, "TLS1.2", False, "info", "", (), False, 0.0),
        pki=PkiSettings(nowhere, "operator", None, "ec-p256", 0, 0, ()),
        snapshots=replace(snapshots, schedule=None),
    )


def _demand_name(bundle: Bundle, name: str) -> None:
    if bundle.facts["cluster"] != name:
        raise InputError(
            f"the bundle is of the cluster {bundle.facts['cluster']!r}, not {name!r}",
            state="nothing was written",
            remedy="give the name that it tells, or another --from",
        )


def _head(bundle: Bundle, *, told: bool) -> str:
    hosts = "hosts are the new ones" if told else "REPLACE hosts: they are the lost ones"
    return (
        f"Of {bundle.facts['cluster']}, as of {bundle.facts['made']}; cluster.yaml.was is the original.\n"
        f"Changed: pki.state_dir, and what is known of the store and its keys; {hosts}.\n"
        "Look through the rest: paths and secrets that it names were on a machine that may be gone."
    )


def _told(
    spec: Cluster, entry: CatalogEntry, bundle: Bundle, directory: Path, written: tuple[str, ...], *, hosts_told: bool
) -> str:
    facts = bundle.facts
    whose = "signed by the trusted key" if bundle.trust == "signed" else f"NOT TRUSTED, signed by {bundle.signer}"
    secrets = ", ".join(facts["secrets"]) or "none"
    file = directory / "cluster.yaml"
    first = "look through" if hosts_told else "put the new hosts into"
    lines = [
        f"{spec.name}: bundle of {entry.id}, made {facts['made']}, {whose}, opened into {directory}",
        *(f"  {name}" for name in written),
        f"etcd {facts['etcd_version']} from {facts['etcd_source']}; the cluster's UUID is {facts['cluster_uuid']}",
        f"secrets that the cluster file names, to be had elsewhere: {secrets}",
        *([] if "ca.key" in bundle.files else ["the CA's key is NOT in it: no certificates can be issued"]),
        "go on:",
        f"  1. {first} {file}; `etcd-flows validate {file}`",
        "  2. see that the old hosts are off, and stay off",
        f"  3. etcd-flows bootstrap-cluster {file} --from-snapshot latest --accept old-members-off --plan",
        "  4. the same without --plan; README.txt says what else is needed (Kubernetes' encryption keys)",
    ]
    return "\n".join(lines)
