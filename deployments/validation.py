"""``etcd-flows validate``."""

from __future__ import annotations

import json

import click

from tasks.cluster.load import ClusterFileError, load_cluster
from tasks.errors import InputError


def run_validate(cluster: str, *, as_json: bool) -> int:
    """Check a cluster file and print every finding; returns the exit code (0 or 2)."""
    try:
        loaded = load_cluster(cluster)
    except ClusterFileError as error:
        problems = error.problems
        if not as_json:
            for problem in problems:
                click.echo(str(problem), err=True)
            errors = sum(problem.severity == "error" for problem in problems)
            click.echo(f"{errors} problem{'s' if errors != 1 else ''}; nothing was touched", err=True)
    except InputError as error:
        if not as_json:
            click.echo(str(error), err=True)
        problems = ()
    else:
        if as_json:
            click.echo(json.dumps({"ok": True, "problems": [vars_of(w) for w in loaded.warnings]}, indent=2))
            return 0
        for warning in loaded.warnings:
            click.echo(str(warning), err=True)
        count = len(loaded.cluster.hosts)
        click.echo(f"{loaded.cluster.name}: good ({count} member{'s' if count != 1 else ''})")
        return 0
    if as_json:
        click.echo(json.dumps({"ok": False, "problems": [vars_of(problem) for problem in problems]}, indent=2))
    return InputError.exit_code


def vars_of(problem: object) -> dict[str, object]:
    """A problem as a JSON object."""
    return {name: getattr(problem, name) for name in ("file", "line", "column", "key", "message", "hint", "severity")}
