"""``etcd-flows deploy``: registers the deployments of all cluster files with a Prefect server; workers run them."""

from __future__ import annotations

import json
import os

import click
import yaml

from deployments.api import api_errors, turn_to_api
from deployments.declared import declared, prefect_yaml
from deployments.errors import show_error
from deployments.meter import Meter
from deployments.served_clusters import served_clusters
from tasks.errors import EtcdFlowsError

#: The work pool, unless another is named.
POOL = "etcd-flows"


def run_deploy(pool: str, notify: str, *, plan_only: bool, as_json: bool) -> int:
    """Plan, show the plan, register; returns the exit code.

    Args:
        pool: Work pool that runs the flows.
        notify: Notification block of the automations, ``type/name``; empty: they only leave an event.
    """
    try:
        clusters = served_clusters(os.environ)
        url = turn_to_api()
        from prefect.client.orchestration import get_client

        from deployments import automations
        from deployments.registry import plan_registration, register, reporter

        meter = Meter("registering", quiet=as_json, amount="{:.0f}".format)
        with api_errors(url), get_client(sync_client=True) as client:
            plan = plan_registration(client, declared(clusters), pool)
            if not as_json:
                click.echo(f"deployments at {url}:\n{plan.as_text()}")
            if not plan_only:
                register(client, plan, meter)
                meter.end()
            told = automations.declared(clusters, reporter(client))
            told_changes = automations.register_automations(client, told, notify, meter, plan_only=plan_only)
            meter.end()
            if not as_json:
                click.echo("".join(f"  {c:<7} {n}\n" for n, c in told_changes.items() if c != "keep"), nl=False)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    if as_json:
        record = {"ok": True, "applied": not plan_only, "pool": pool, **plan.as_json(), "automations": told_changes}
        click.echo(json.dumps(record, indent=2))
    elif plan_only:
        click.echo("only a plan: nothing was changed")
    else:
        done = "nothing to do" if plan.empty else "done"
        click.echo(f"{done}; a worker runs them: prefect worker start --pool {pool} --type process")
    return 0


def run_prefect_yaml(pool: str) -> int:
    """Print the same declaration as a prefect.yaml; returns the exit code."""
    try:
        text = yaml.safe_dump(prefect_yaml(declared(served_clusters(os.environ)), pool), sort_keys=False)
    except EtcdFlowsError as error:
        return show_error(error, as_json=False)
    click.echo(text, nl=False)
    return 0
