"""The act of the demo about metrics: what a real Prometheus saw of the whole story."""

from __future__ import annotations

import time
from collections.abc import Sequence

from deployments.demo import cluster
from deployments.demo.acts import expect
from deployments.demo.prometheus import Prometheus
from deployments.demo.stage import Stage
from tasks.monitoring.rule import selector
from tasks.reporting import tables
from tasks.reporting.human import duration, plural, size

_COLUMNS = 60
_SHADES = " .:-=+*#%@"  # from nothing to the most; plain ASCII, as the terminal may know nothing else
_PATIENCE = 20.0  # seconds for Prometheus to see the restored members
_WHOSE = selector(cluster.NAME)
_FIRING = f'ALERTS{{cluster="{cluster.NAME}", alertstate="firing"}}'


def look_at_metrics(stage: Stage) -> str:
    """What Prometheus knows, now and of the whole story; without one, how to get to see it."""
    server = stage.prometheus
    if server is None:
        url = next(iter(stage.cluster.hosts)).metrics_url
        stage.screen.say(
            f"There is no Prometheus on this machine, so nobody was looking. Every member shows its metrics ({url}"
            "/metrics). With a Prometheus in PATH, or by `etcd-flows demo --prometheus FILE`, this act shows what it "
            "saw of all this."
        )
        return "not shown: no Prometheus was found here"
    _wait(server)
    stage.screen.say(f"Prometheus ({server.program}) has asked each member every second: {server.url}")
    stage.screen.raw()
    stage.screen.raw(tables.as_text(_members(server), indent="   "))
    stage.screen.raw()
    _story(stage, server)
    return _alerts(stage, server)


def _wait(server: Prometheus) -> None:
    """Until all members are seen again."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if len(server.query(f"up{_WHOSE} == 1")) == len(cluster.MEMBERS):
            return
        time.sleep(0.2)
    expect(False, "Prometheus does not see all members")


def _members(server: Prometheus) -> tables.Table:
    def of(expr: str) -> dict[str, float]:
        return {one["metric"]["member"]: float(one["value"][1]) for one in server.query(expr)}

    leads = of(f"etcd_server_is_leader{_WHOSE}")
    away = of(f"count_over_time(up{_WHOSE}[1h]) - sum_over_time(up{_WHOSE}[1h])")
    keys = of(f"etcd_debugging_mvcc_keys_total{_WHOSE}")
    sizes = of(f"etcd_mvcc_db_total_size_in_bytes{_WHOSE}")
    syncs = "etcd_disk_wal_fsync_duration_seconds_bucket"
    slow = of(f"histogram_quantile(0.99, sum by (member, le) (rate({syncs}{_WHOSE}[1m])))")
    rows = [
        (
            name,
            "leader" if leads.get(name) else "follower",
            f"{away.get(name, 0):.0f} s",
            f"{keys.get(name, 0):.0f}",
            size(sizes.get(name, 0)),
            f"{1000 * slow[name]:.1f} ms" if name in slow else "-",
        )
        for name in cluster.MEMBERS
    ]
    headings = ("member", "role", "was away for", "keys", "database", "99 of 100 syncs of the log within")
    return tables.table(headings, rows)


def _story(stage: Stage, server: Prometheus) -> None:
    """Two lines of characters: who was up, and when keys were written."""
    end = time.time()
    begin = max(stage.watched_since, end - 3600)
    step = max(1.0, (end - begin) / _COLUMNS)
    up = server.series(f"sum(up{_WHOSE})", begin, end, step)
    puts = server.series(f"max(increase(etcd_mvcc_put_total{_WHOSE}[{2 * step:.0f}s]))", begin, end, step)
    full = up.index(len(cluster.MEMBERS)) if len(cluster.MEMBERS) in up else len(up)
    expect(0 in up[full:], "Prometheus has not seen that all members were gone")
    stage.screen.raw(f"   members up:   {''.join(f'{value:.0f}' for value in up)}")
    stage.screen.raw(f"   keys written: {shaded(puts).rjust(len(up))}")
    stage.screen.say(f"one character for {step:.1f} s, from the bootstrap to now", indent="   ")


def shaded(values: Sequence[float]) -> str:
    """A character for each value, the denser the larger."""
    most = max(values, default=0.0) or 1.0
    return "".join(_SHADES[round(value / most * (len(_SHADES) - 1))] for value in values)


def _alerts(stage: Stage, server: Prometheus) -> str:
    fired = server.query(f"count_over_time({_FIRING}[1h])")
    rows = sorted(
        (one["metric"]["alertname"], one["metric"].get("member", "all of it"), duration(float(one["value"][1])))
        for one in fired
    )
    stage.screen.raw()
    stage.screen.say("Our alert rules, loaded as `etcd-flows monitoring files` writes them, have fired meanwhile:")
    stage.screen.raw()
    stage.screen.raw(tables.as_text(tables.table(("alert", "about", "for"), rows), indent="   "))
    down = [about for name, about, _ in rows if name == "EtcdMemberDown"]
    expect(stage.lost in down, f"no alert told that {stage.lost} was down")
    return (
        f"Prometheus saw it all, and {plural(len(rows), 'alert')} fired, one when {stage.lost} was killed; "
        "docs/alerts.md says what to do about each"
    )
