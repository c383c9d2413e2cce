"""The overview that ``etcd-flows --help`` gives."""

from __future__ import annotations

from collections.abc import Mapping

import click

#: Commands under the question that people come with. What is in none stands at the end.
SECTIONS: dict[str, dict[str, str]] = {
    "Build and change": {
        "validate": "Every problem of a cluster file at once.",
        "doctor": "Is this machine fit to run the flows?",
        "preflight-cluster": "What would get in the way of a bootstrap?",
        "bootstrap-cluster": "Bare hosts become a cluster; run again, they converge.",
        "destroy-cluster": "Remove what was installed; data is kept.",
    },
    "Watch": {
        "check-cluster": "All that an expert would look at; changes nothing.",
        "enable-monitoring": "Prometheus, Alertmanager and Grafana on a host of yours.",
        "monitoring": "Files for a Prometheus and a Grafana of your own.",
        "locks": "Who works on a cluster's hosts.",
    },
    "Back up": {
        "snapshot-backup": "A snapshot into all stores, proven and signed.",
        "snapshots": "What backups there are; list, show, verify, fetch, ...",
        "verify-snapshots": "Open those that nobody has opened yet.",
        "prune-snapshots": "Remove what no retention rule keeps.",
        "restore-drill": "Restore one here, prove it, measure it.",
    },
    "Bring back": {
        "disaster-restore": "The whole cluster, from a snapshot.",
        "replace-member": "One broken member; the others go on.",
        "restore-keys": "Chosen keys, into the running cluster.",
        "restores": "What was restored, by whom.",
        "prune-data-dirs": "Remove the data that restores have left beside.",
    },
    "Schedules, UI and API": {
        "serve": "All of it on this machine.",
        "deploy": "Register all deployments with a Prefect server.",
        "trigger": "Start a deployment by the API and follow it.",
    },
    "Other": {
        "demo": "The whole story on this machine, in two minutes.",
        "schema": "JSON Schema of the cluster file, or of --json.",
        "completion": "For bash, zsh or fish.",
        "version": "Print the version.",
    },
}


class Whole(click.Group):
    """A group whose help tells what each command does in whole sentences, over several lines if need be."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands; hidden ones are left out."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(400)) for name, command in commands if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Overview(click.Group):
    """A group whose help has sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section; hidden ones are left out."""
        shown = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        sections = {title: {n: text for n, text in told.items() if n in shown} for title, told in SECTIONS.items()}
        known = {name for told in sections.values() for name in told}
        others = {name: self.commands[name].get_short_help_str(60) for name in shown if name not in known}
        sections["Other"] = others | sections["Other"]
        width = max(map(len, shown))
        for title, told in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in told.items()])


def colourless(environ: Mapping[str, str]) -> bool:
    """Whether nobody wants colours: NO_COLOR (no-color.org: set and not empty), or a terminal that knows none."""
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
