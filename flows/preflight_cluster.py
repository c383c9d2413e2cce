"""preflight-cluster: what would get in the way of a bootstrap, without one."""

from __future__ import annotations

from typing import Annotated

from prefect import flow

from flows.choices import one_of
from flows.ending import ends_in_state
from flows.fan_out import all_hosts_at_once
from flows.preflight import look, preflight
from flows.prepare import load
from flows.report import reporting
from flows.results import CheckResult
from flows.run_names import named
from tasks.preflight.checks import CHECKS
from tasks.preflight.waivers import check_waivers


@flow(
    name="preflight-cluster",
    flow_run_name=named("look ahead at the hosts of {cluster}"),
    task_runner=all_hosts_at_once(),
    persist_result=False,
)
@ends_in_state
def preflight_cluster(cluster: str, waive: list[Annotated[str, one_of(CHECKS)]] | None = None) -> CheckResult:
    """Look at the hosts as bootstrap-cluster would before it changes anything; change nothing.

    Args:
        cluster: Path of a cluster file, or the name of one in the clusters directory.
        waive: Names of checks whose errors are to be lived with.
    """
    with reporting():
        waived = check_waivers(waive or ())
        spec = load(cluster)
        facts, errors = look(spec)
        return CheckResult(spec.name, preflight(spec, facts, errors, waived), good="ready")
