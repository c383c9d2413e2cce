"""The command line. Prefect is not imported until a flow really runs: help, version and completion answer at once."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import click

from deployments.cli_help import Overview, colourless
from deployments.cli_options import cluster_argument, common_options, plan_option, run, waive_option
from deployments.cli_prefect import deploy, locks, serve, trigger
from deployments.cli_restoring import disaster_restore, prune_data_dirs, replace_member, restore_drill, restores
from deployments.monitoring import monitoring
from deployments.restore_keys import restore_keys
from deployments.snapshots import snapshots

_EPILOG = (
    "Exit codes: 0 done; 1 the work failed; 2 bad input, nothing touched; 3 refused by a safety check, nothing touched."
)


def _assert_ours() -> None:
    """Refuse to run with somebody else's ``flows`` or ``tasks`` (PYTHONPATH and cwd can stand before us)."""
    import flows
    import tasks

    home = Path(__file__).resolve().parent.parent
    for package in (flows, tasks):
        found = Path(str(package.__file__)).resolve().parent.parent
        if found != home:
            click.echo(
                f"etcd-flows: the package {package.__name__!r} was found in {found}, not in {home}. "
                "Another package of that name stands before ours: look at PYTHONPATH and the current directory.",
                err=True,
            )
            sys.exit(2)


def _complete_schemas(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from deployments.outputs import names

    return [name for name in ("cluster-file", *names()) if name.startswith(incomplete)]


@click.group(
    cls=Overview, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_EPILOG
)
@click.version_option(installed_version("etcd-flows"), prog_name="etcd-flows")
@click.pass_context
def main(context: click.Context) -> None:
    """Build, watch, back up and bring back etcd clusters on plain Linux hosts.

    CLUSTER is the path of a cluster file, or the name of one in ./deployments/clusters or $ETCD_FLOWS_CLUSTERS.
    """
    if colourless(os.environ):
        context.color = False
    _assert_ours()


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"etcd-flows {installed_version('etcd-flows')}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell: of commands, options, cluster names, flows.

    \b
    bash:  eval "$(etcd-flows completion bash)"     in ~/.bashrc
    zsh:   eval "$(etcd-flows completion zsh)"      in ~/.zshrc
    fish:  etcd-flows completion fish | source      in ~/.config/fish/config.fish
    """  # noqa: D301 - \\b is for click
    from click.shell_completion import get_completion_class

    cls = get_completion_class(shell)
    if cls is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(cls(main, {}, "etcd-flows", "_ETCD_FLOWS_COMPLETE").source())


@main.command()
@cluster_argument
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def validate(cluster: str, as_json: bool) -> None:
    """Check a cluster file: every problem at once, with file, line, key and a hint. No host is contacted."""
    from deployments.validation import run_validate

    sys.exit(run_validate(cluster, as_json=as_json))


@main.command()
@click.argument("cluster", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def doctor(cluster: str | None, as_json: bool) -> None:
    """Is this machine fit to run the flows? Changes nothing and contacts no host.

    Looks at Python and packages, clock, disks, cluster files and the secrets they name, SSH keys and known hosts,
    CA and age keys, stores, releases and Prefect's API: of CLUSTER, or of all clusters that have a file. Exit code 1
    if there are errors.
    """
    from deployments.doctor.run import run_doctor

    sys.exit(run_doctor(cluster, as_json=as_json))


@main.command()
@click.argument("of", default="cluster-file", shell_complete=_complete_schemas)
def schema(of: str) -> None:
    """Print a JSON Schema: of the cluster file, for editors; or of what a command prints with --json.

    OF is `cluster-file` (the default), or such a command with dashes, as `check-cluster` or `snapshots-list`.
    """
    from deployments.outputs import names, output_schema
    from tasks.cluster.schema import json_schema

    if of not in ("cluster-file", *names()):
        raise click.UsageError(f"no schema of {of!r}; there are cluster-file, {', '.join(names())}")
    click.echo(json.dumps(json_schema() if of == "cluster-file" else output_schema(of), indent=2))


@main.command("bootstrap-cluster")
@common_options
@plan_option
@waive_option
@click.option(
    "--from-snapshot",
    default="",
    metavar="WHICH|FILE",
    help="Begin with this data: `latest`, an id or the beginning of one, 'before 2026-11-24T14:30', or a file.",
)
@click.option("--from-cluster", default="", metavar="CLUSTER", help="Whose snapshot it is, if another cluster's.")
@click.option("--store", default="", metavar="NAME", help="Only this store has the snapshot.")
@click.option("--clone", is_flag=True, help="Make another cluster of it: own identity, revisions not raised.")
@click.option("--accept", multiple=True, metavar="WHAT", help="What is to be lived with, as refusals say; repeatable.")
@click.option("--start-over", is_flag=True, help="Begin with a snapshot anew, though that was begun.")
def bootstrap_cluster(
    cluster: str, waive: tuple[str, ...], accept: tuple[str, ...], as_json: bool, verbose: bool, **options: Any
) -> None:
    """Bare hosts become a healthy TLS cluster, empty or with a snapshot's data; run again, they converge."""
    lists = {"waive": list(waive), "accept": list(accept)}
    run("bootstrap_cluster", cluster, as_json=as_json, verbose=verbose, **lists, **options)


@main.command("preflight-cluster")
@common_options
@waive_option
def preflight_cluster(cluster: str, waive: tuple[str, ...], as_json: bool, verbose: bool) -> None:
    """What would get in the way of a bootstrap; changes nothing. Exit code 1 if an error would."""
    run("preflight_cluster", cluster, as_json=as_json, verbose=verbose, waive=list(waive))


main.add_command(
    click.Command("preflight", callback=preflight_cluster.callback, params=preflight_cluster.params, hidden=True)
)


@main.command("check-cluster")
@common_options
def check_cluster(cluster: str, as_json: bool, verbose: bool) -> None:
    """Look at everything an expert would look at; changes nothing. Exit code 1 if anything is wrong."""
    run("check_cluster", cluster, as_json=as_json, verbose=verbose)


@main.command("destroy-cluster")
@common_options
@plan_option
@click.option("--confirm", default="", metavar="NAME", help="The cluster's name, typed: without it nothing is removed.")
@click.option("--delete-data", is_flag=True, help="Also remove the data dirs. There is no way back without a snapshot.")
def destroy_cluster(
    cluster: str, plan_only: bool, confirm: str, delete_data: bool, as_json: bool, verbose: bool
) -> None:
    """Remove what was installed; data dirs are kept unless told otherwise."""
    run(
        "destroy_cluster",
        cluster,
        as_json=as_json,
        verbose=verbose,
        plan_only=plan_only,
        confirm=confirm,
        delete_data=delete_data,
    )


@main.command("enable-monitoring")
@common_options
@plan_option
def enable_monitoring(cluster: str, plan_only: bool, as_json: bool, verbose: bool) -> None:
    """Prometheus, Alertmanager and Grafana on the monitoring host, proven: members scraped, receivers told."""
    run("enable_monitoring", cluster, as_json=as_json, verbose=verbose, plan_only=plan_only)


@main.command("snapshot-backup")
@common_options
@plan_option
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the manifest.")
@click.option("--requested-by", default="", metavar="NAME", help="Who asks for it; kept in the manifest.")
def snapshot_backup(
    cluster: str, plan_only: bool, reason: str, requested_by: str, as_json: bool, verbose: bool
) -> None:
    """Take a snapshot, prove it, and put it into all stores of the cluster file."""
    run(
        "snapshot_backup",
        cluster,
        as_json=as_json,
        verbose=verbose,
        plan_only=plan_only,
        reason=reason,
        requested_by=requested_by,
    )


@main.command("prune-snapshots")
@common_options
@plan_option
@click.option("--store", default="", metavar="NAME", help="Only this store; all of the cluster file by default.")
@click.option("--remove", multiple=True, metavar="ID", help="Also this snapshot, which no rule removes; repeatable.")
def prune_snapshots(
    cluster: str, plan_only: bool, store: str, remove: tuple[str, ...], as_json: bool, verbose: bool
) -> None:
    """Remove snapshots that no retention rule keeps; never the newest, the last verified, or a pinned one."""
    from deployments.runner import run_flow

    parameters = {"plan_only": plan_only, "store": store, "remove": list(remove)}
    sys.exit(run_flow("prune_snapshots", cluster, as_json=as_json, verbose=verbose, parameters=parameters))


@main.command("verify-snapshots")
@common_options
@plan_option
@click.option("--store", default="", metavar="NAME", help="Only this store; all of the cluster file by default.")
@click.option("--at-most", default=10, show_default=True, type=click.IntRange(1), help="So many copies.")
@click.option(
    "--minutes", default=60, show_default=True, type=click.IntRange(1), help="After so many no other copy is begun."
)
@click.option("--scratch", default="", metavar="DIR", help="Where there is room for the database, twice.")
def verify_snapshots(cluster: str, as_json: bool, verbose: bool, **options: Any) -> None:
    """Open stored snapshots that nobody has opened yet, the newest first. Exit code 1 if one is bad."""
    run("verify_snapshots", cluster, as_json=as_json, verbose=verbose, **options)


for _command in (disaster_restore, replace_member, restore_drill, prune_data_dirs, restores, restore_keys, snapshots):
    main.add_command(_command)
for _command in (monitoring, locks, serve, deploy, trigger):
    main.add_command(_command)


@main.command()
@click.option("--keep", is_flag=True, help="Leave the demo's cluster running at the end.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where it lives; a new directory by default.")
@click.option("--prometheus", type=click.Path(path_type=Path), help="Program that watches; from PATH by default.")
def demo(keep: bool, directory: Path | None, prometheus: Path | None) -> None:
    """Three members with real TLS on this machine, no root: built, broken, backed up, lost, restored. Two minutes."""
    from deployments.demo.story import run_demo

    sys.exit(run_demo(directory, keep=keep, prometheus=prometheus))


if __name__ == "__main__":
    main(prog_name="etcd-flows")
