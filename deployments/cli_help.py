"""The overview that ``etcd-flows --help`` gives."""

from __future__ import annotations

import sys
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


#: Options that many commands have: they stand behind a command's own.
_COMMON = ("--store", "--reason", "--requested-by", "--plan", "--json", "--verbose", "--help")

#: What is typed, below the help of a command; by its words.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "bootstrap-cluster": (
        "prod-a.yaml --plan",
        "prod-a.yaml",
        "staging.yaml --from-snapshot latest --from-cluster prod-a.yaml --clone",
    ),
    "check-cluster": ("prod-a", "prod-a --json"),
    "deploy": ("--plan", "--notify slack-webhook/on-call"),
    "destroy-cluster": ("prod-a --plan", "prod-a --confirm prod-a"),
    "disaster-restore": (
        "prod-a --plan",
        "prod-a --confirm prod-a --reason 'disks lost' --requested-by alice",
        "prod-a --snapshot 'before 2026-11-24T14:30' --confirm prod-a",
        "prod-a --go-back --confirm prod-a",
    ),
    "doctor": ("", "prod-a.yaml"),
    "enable-monitoring": ("prod-a --plan", "prod-a"),
    "locks list": ("prod-a",),
    "locks release": ("prod-a --run 5f0c2d9e",),
    "monitoring files": ("prod-a /etc/prometheus/etcd --prometheus-url http://10.0.0.21:9090",),
    "preflight-cluster": ("prod-a.yaml", "prod-a.yaml --waive clocks"),
    "prune-data-dirs": ("prod-a --plan", "prod-a --keep 1 --confirm prod-a"),
    "prune-snapshots": ("prod-a --plan", "prod-a --store offsite"),
    "replace-member": ("prod-a etcd-02 --plan", "prod-a etcd-02 --confirm prod-a"),
    "restore-drill": ("prod-a", "prod-a --snapshot 20261124T1554 --store offsite --scratch /mnt/big"),
    "restore-keys": (
        "prod-a --from latest --namespace shop",
        "prod-a --from 'before 2026-11-24T14:30' --key /registry/secrets/shop/db --on-conflict overwrite",
        "prod-a --apply 68194c310fe4 --confirm prod-a",
    ),
    "serve": ("", "--port 4300 --notify slack-webhook/on-call"),
    "snapshot-backup": ("prod-a", "prod-a --reason 'before the upgrade' --requested-by alice"),
    "snapshots browse": ("prod-a latest /registry/ --depth 1",),
    "snapshots bundle": ("prod-a found --from s3://etcd-backups --identity age.key --host etcd-11=10.1.0.11",),
    "snapshots copy": ("prod-a --from local --to offsite",),
    "snapshots diff": ("prod-a latest now --prefix /registry/deployments/",),
    "snapshots fetch": ("prod-a latest",),
    "snapshots import": ("prod-a snapshot.db --reason 'by cron on the old site'",),
    "snapshots list": ("prod-a --since 7d --verified",),
    "snapshots pin": ("prod-a 20261124T1554 --reason 'before the migration'",),
    "snapshots show": ("prod-a latest",),
    "snapshots verify": ("prod-a latest", "prod-a 20261124T1554 --level stored --store offsite"),
    "trigger": (
        "snapshot-backup prod-a -p reason='from a script'",
        "disaster-restore prod-a -p reason='disks lost' --confirm prod-a --idempotency-key incident-7",
    ),
    "validate": ("prod-a.yaml",),
    "verify-snapshots": ("prod-a --plan", "prod-a --at-most 3 --minutes 20"),
}  # fmt: skip


class Explained(click.Command):
    """A command whose help shows its own options first, and what is typed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """All parameters, those that many commands have last."""
        order = {name: number for number, name in enumerate(_COMMON, 1)}
        return sorted(super().get_params(ctx), key=lambda each: max(order.get(name, 0) for name in each.opts))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        program, _, words = ctx.command_path.partition(" ")
        if words in EXAMPLES:
            with formatter.section("Examples"):
                for each in EXAMPLES[words]:
                    formatter.write(f"  {program} {words} {each}".rstrip() + "\n")
        super().format_epilog(ctx, formatter)


class Whole(click.Group):
    """A group whose help tells what each command does in whole sentences, over several lines if need be."""

    command_class = Explained

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands; hidden ones are left out."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(400)) for name, command in commands if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Overview(click.Group):
    """A group whose help has sections; no error of its commands reaches people as a traceback."""

    command_class = Explained

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise  # click's own: usage, the end, and a reader like `head` that has seen enough
        except Exception as error:  # noqa: BLE001 - whatever it is, people are told what to do
            from deployments.errors import show_unexpected

            sys.exit(show_unexpected(error, as_json="--json" in sys.argv))

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
