"""Commands by which data comes back, or what is broken is rebuilt."""

from __future__ import annotations

import sys
from typing import Any

import click

from deployments.cli_help import Explained, Whole
from deployments.cli_options import cluster_argument, common_options, plan_option, run


@click.command("disaster-restore", cls=Explained)
@common_options
@plan_option
@click.option(
    "--snapshot",
    default="latest",
    metavar="WHICH",
    help="`latest` (the default), an id or the beginning of one, or 'before 2026-11-24T14:30'.",
)
@click.option("--file", default="", metavar="PATH", help="A file instead, as `etcdctl snapshot save` writes it.")
@click.option("--store", default="", metavar="NAME", help="Only this store; all of the cluster file by default.")
@click.option("--from-survivors", is_flag=True, help="Without quorum: what the member that is furthest still holds.")
@click.option(
    "--from-data-dir", default="", metavar="HOST:PATH", help="What a data dir, or a bare member/snap/db, holds."
)
@click.option("--confirm", default="", metavar="NAME", help="The cluster's name, typed: without it nothing is changed.")
@click.option("--dead", multiple=True, metavar="NAME", help="A member that is gone for good and left out; repeatable.")
@click.option("--fenced", multiple=True, metavar="NAME", help="A dead member that surely stays off; repeatable.")
@click.option("--accept", multiple=True, metavar="WHAT", help="What is to be lived with, as refusals say; repeatable.")
@click.option(
    "--start-over", is_flag=True, help="Begin anew, though a restore was begun: if none of it can have served."
)
@click.option("--rejoin", is_flag=True, help="Restore one member alone, which the others join: for huge databases.")
@click.option("--go-back", is_flag=True, help="Take the restore that is under way, or the last one, back.")
@click.option("--again", is_flag=True, help="Also if that very snapshot has just been restored and is served since.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the restore's record.")
@click.option("--requested-by", default="", metavar="NAME", help="Who asks for it; kept in the restore's record.")
def disaster_restore(
    cluster: str, as_json: bool, verbose: bool, dead: tuple[str, ...], fenced: tuple[str, ...], **options: Any
) -> None:
    """Bring a cluster back from a snapshot and prove it; run again, it goes on from where it was cut off."""
    accept = list(options.pop("accept"))
    lists = {"dead": list(dead), "fenced": list(fenced), "accept": accept}
    run("disaster_restore", cluster, as_json=as_json, verbose=verbose, **lists, **options)


@click.command("replace-member", cls=Explained)
@common_options
@click.argument("member")
@plan_option
@click.option("--confirm", default="", metavar="NAME", help="The cluster's name, typed: without it nothing is changed.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the replacement's record.")
@click.option("--requested-by", default="", metavar="NAME", help="Who asks for it; kept in the replacement's record.")
def replace_member(cluster: str, as_json: bool, verbose: bool, **options: Any) -> None:
    """Rebuild one broken member while the others have a quorum; nothing is restored, nothing is lost."""
    run("replace_member", cluster, as_json=as_json, verbose=verbose, **options)


@click.command("restore-drill", cls=Explained)
@common_options
@click.option(
    "--snapshot",
    default="latest",
    show_default=True,
    metavar="WHICH",
    help="`latest`, an id or the beginning of one, or 'before 2026-11-24T14:30'.",
)
@click.option("--store", default="", metavar="NAME", help="Only this store; all of the cluster file by default.")
@click.option("--scratch", default="", metavar="DIR", help="Where there is room for the database, twice.")
@click.option("--picture", default="", metavar="FILE", help="Draw how long all drills took into this file (SVG).")
@click.option(
    "--here", is_flag=True, help="On this machine, though the cluster file names another one (drill.machine)."
)
def restore_drill(cluster: str, as_json: bool, verbose: bool, **parameters: Any) -> None:
    """Restore a stored snapshot in a scratch place, prove it, measure it; touches no member. Exit code 1: bad."""
    run("restore_drill", cluster, as_json=as_json, verbose=verbose, **parameters)


@click.command("prune-data-dirs", cls=Explained)
@common_options
@plan_option
@click.option("--keep", default=1, show_default=True, metavar="N", help="So many old data dirs stay on each host.")
@click.option("--confirm", default="", metavar="NAME", help="The cluster's name, typed: without it nothing is removed.")
def prune_data_dirs(cluster: str, plan_only: bool, keep: int, confirm: str, as_json: bool, verbose: bool) -> None:
    """Remove data that restores have left beside the present one; only if newer snapshots are proven."""
    parameters = {"plan_only": plan_only, "keep": keep, "confirm": confirm}
    run("prune_data_dirs", cluster, as_json=as_json, verbose=verbose, **parameters)


@click.group(cls=Whole)
def restores() -> None:
    """What restores there were, as the stores know them."""


@restores.command("list")
@cluster_argument
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON on stdout.")
def restores_list(cluster: str, as_json: bool) -> None:
    """All restores on record in the stores, the newest first: when, of what, by whom, and how they ended."""
    from deployments.restores import run_list

    sys.exit(run_list(cluster, as_json=as_json))
