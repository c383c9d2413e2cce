"""All questions put together, and the answers shown."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click

from deployments.doctor.asking import Question, answers
from deployments.doctor.machine import check_machine
from tasks.cluster.spec import Cluster
from tasks.cluster.surroundings import Surroundings
from tasks.findings import Finding, worst
from tasks.reporting import findings as shown
from tasks.reporting.human import plural
from tasks.reporting.tables import as_text

#: Columns where the output is no terminal.
_WIDTH = 110


def run_doctor(cluster: str | None, *, as_json: bool) -> int:
    """Look, tell, and say by the exit code whether there are errors (1; 2 if the named cluster's file is bad).

    Args:
        cluster: The one that is meant; None for all that have a file.
    """
    findings = examine(cluster, os.environ, Path.cwd())
    code = exit_code(cluster, findings)
    if as_json:
        record = {"ok": code == 0, "cluster": cluster, "verdict": worst(findings)}
        click.echo(json.dumps({**record, "findings": [shown.as_json(each) for each in findings]}, indent=2))
        return code
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    click.echo(as_text(shown.as_table(findings, place="of"), width=width))
    errors, warnings = (sum(each.level == level for each in findings) for level in ("error", "warning"))
    good = not errors and not warnings
    verdict = "fit" if good else f"{plural(errors, 'error')}, {plural(warnings, 'warning')}; what to do:"
    click.echo("\n".join(["", f"this machine: {verdict}", *shown.remedies("this machine", findings)]))
    return code


def exit_code(cluster: str | None, findings: list[Finding]) -> int:
    """1 if there are errors, 2 if they are in the file of the cluster that was named. Pure."""
    errors = {each.check for each in findings if each.level == "error"}
    if cluster is not None and "cluster file" in errors:
        return 2
    return 1 if errors else 0


def examine(cluster: str | None, environ: Mapping[str, str], here: Path) -> list[Finding]:
    """All findings. Where a package can't be loaded only the machine is looked at: the rest would not run."""
    found = check_machine(environ, here)
    if any(each.check == "packages" and each.level == "error" for each in found):
        return found
    from deployments.doctor.cluster_files import check_secrets, read_clusters
    from deployments.doctor.logins import check_agent, check_key_files
    from deployments.doctor.prefect_api import CHECK, check_api, configured
    from tasks.cluster.references import secret_references

    home = Surroundings(here, environ).home
    clusters, of_files = read_clusters(cluster, environ)
    found += [*of_files, *check_key_files(home)]
    for name, spec in clusters.items():
        found += check_secrets(name, spec, environ)
    blocks = {ref for spec in clusters.values() for _, ref in secret_references(spec) if ref.kind == "block"}
    ordered = sorted(blocks, key=str)
    questions = [
        Question("ssh agent", None, partial(check_agent, environ), "warning"),
        *(each for name, spec in clusters.items() for each in _of_cluster(name, spec, home)),
        Question(CHECK, None, lambda: check_api(configured(environ, here), ordered), "warning"),
    ]
    return found + answers(questions)


def _of_cluster(name: str, spec: Cluster, home: Path) -> list[Question]:
    from deployments.doctor.keys import check_keys
    from deployments.doctor.logins import check_logins
    from deployments.doctor.places import check_release, check_store

    return [
        Question("logins", name, partial(check_logins, name, spec, home)),
        Question("keys", name, lambda: list(check_keys(name, spec))),
        Question("release", name, partial(check_release, name, spec.release)),
        *(Question("store", name, partial(check_store, name, spec, each)) for each in spec.snapshots.stores),
    ]
