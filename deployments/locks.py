"""``etcd-flows locks``: who works on a cluster's hosts, and taking a lock away. Needs no Prefect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from deployments.errors import error_json, show_error
from deployments.loading import load
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError, LockHeld, Several
from tasks.hosts.lock import Entry, Holder, holders
from tasks.hosts.lock_holder import is_alive
from tasks.hosts.locking import look, remove, sign_of_life
from tasks.hosts.shell import close_all
from tasks.reporting.human import duration
from tasks.reporting.tables import as_text, table

Seen = dict[str, tuple[Entry, ...]]


def run_list(cluster: str, *, as_json: bool) -> int:
    """Show all locks on the cluster's hosts; exit code 1 if a host could not be asked."""
    try:
        spec = load(cluster)
        seen, errors = look(spec.all_hosts)
        found = {holder.session: holder for holder in holders(seen, is_alive)}
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    finally:
        close_all()
    rows = [(host, entry, found[entry.session]) for host, entries in seen.items() for entry in entries]
    if as_json:
        locks = [_record(host, entry, holder) for host, entry, holder in rows]
        failed = [error_json(error) for error in errors]
        click.echo(json.dumps({"ok": not errors, "cluster": spec.name, "locks": locks, "errors": failed}, indent=2))
        return 1 if errors else 0
    if rows:
        click.echo(as_text(table(_HEADINGS, [_row(host, entry, holder) for host, entry, holder in rows])))
    elif seen:
        click.echo(f"{spec.name}: no lock on {', '.join(seen)}")
    return show_error(_together(errors), as_json=False) if errors else 0


def run_release(cluster: str, run: str, *, force: bool, as_json: bool) -> int:
    """Remove the lock of a run from all hosts, wherever it is; a living one only with ``force``."""
    try:
        spec = load(cluster)
        seen, errors = look(spec.all_hosts)
        meant = [holder for holder in holders(seen, is_alive) if run and holder.is_called(run)]
        if not meant and not errors:
            raise _unknown(spec, run, seen)
        if not force:
            _refuse_the_living(meant)
        names = {name for holder in meant for name in holder.hosts}
        hosts = [host for host in spec.all_hosts if host.name in names]
        done, failed = remove(hosts, [holder.session for holder in meant])
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    finally:
        close_all()
    errors += failed
    if as_json and not errors:
        click.echo(json.dumps({"ok": True, "cluster": spec.name, "run": run, "released": done}, indent=2))
    elif not as_json and done:
        click.echo(f"{spec.name}: the lock of run {run} is released on {', '.join(done)}")
    return show_error(_together(errors), as_json=as_json) if errors else 0


_HEADINGS = ("host", "state", "flow", "holder", "since", "heard of", "run")


def _row(host: str, entry: Entry, holder: Holder) -> tuple[str, ...]:
    owner = entry.owner
    busy = " (busy)" if entry.busy else ""
    heard = "-" if entry.heard is None else f"{duration(entry.heard)} ago"
    if owner is None:
        return (host, f"{holder.life}{busy}", "?", "?", "?", heard, entry.session)
    who = f"{owner.user}@{owner.machine} pid {owner.pid}"
    return (host, f"{holder.life}{busy}", owner.flow, who, owner.since, heard, owner.run)


def _record(host: str, entry: Entry, holder: Holder) -> dict[str, Any]:
    """One lock for ``--json``; keys are stable."""
    owner = entry.owner
    names = ("run", "flow", "user", "machine", "pid", "since", "url")
    known = {name: getattr(owner, name) if owner else None for name in names}
    seconds = {"heard_seconds_ago": entry.heard, "lease_seconds_left": entry.lease_left}
    return {"host": host, "session": entry.session, "state": holder.life, "busy": entry.busy, **known, **seconds}


def _unknown(spec: Cluster, run: str, seen: Seen) -> InputError:
    runs = sorted({entry.owner.run if entry.owner else entry.session for locks in seen.values() for entry in locks})
    there = f"the locks there are of {', '.join(runs)}" if runs else "there is no lock at all"
    what = f"no host of {spec.name} has a lock of run {run}" if run else "whose lock it is was not said (--run)"
    return InputError(
        f"{what}; {there}",
        state="nothing was changed",
        remedy=f"see `etcd-flows locks list {spec.source or spec.name}`",
    )


def _refuse_the_living(meant: Sequence[Holder]) -> None:
    for holder in meant:
        if holder.life != "dead":
            who = holder.owner.words if holder.owner else f"session {holder.session}"
            raise LockHeld(
                f"the lock of {who} on {', '.join(holder.hosts)} is not that of a dead run: {sign_of_life(holder)}",
                state="no lock was released",
                remedy="wait for the run to end, or cancel it. If it is surely gone, use --force: should it live after "
                "all, it stops before its next command",
            )


def _together(errors: Sequence[EtcdFlowsError]) -> EtcdFlowsError:
    return errors[0] if len(errors) == 1 else Several(f"{len(errors)} hosts could not be asked", errors)
