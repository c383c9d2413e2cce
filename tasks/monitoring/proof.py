"""Proving a monitoring host: Prometheus knows its configuration, gets metrics of all members, and alerts arrive."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tasks.errors import CommandFailed, EtcdFlowsError, Several
from tasks.hosts.files import FileWrite
from tasks.hosts.shell import Shell
from tasks.monitoring.actions import ProveReceivers, ProveTargets
from tasks.monitoring.alertmanager import TEST_ALERT, TEST_LABEL
from tasks.monitoring.ask import Sample, ask
from tasks.monitoring.health import HEALTHY
from tasks.monitoring.programs import ALERTMANAGER, PROMETHEUS
from tasks.monitoring.prometheus import OWN_JOBS
from tasks.monitoring.rule import JOB, selector

_PAUSE = 2.0  # seconds between two looks
_RELOADED = {
    OWN_JOBS[PROMETHEUS]: "prometheus_config_last_reload_success_timestamp_seconds",
    OWN_JOBS[ALERTMANAGER]: "alertmanager_config_last_reload_success_timestamp_seconds",
}


@dataclass(frozen=True)
class Target:
    """A member as Prometheus sees it.

    Args:
        state: ``up``, ``down``, or ``unknown`` to Prometheus.
        health: As the member itself told the monitoring host; see :mod:`tasks.monitoring.health`. None: not asked.
    """

    member: str
    url: str
    state: str
    health: str | None = None

    @property
    def good(self) -> bool:
        """Whether it is scraped, and not ill as far as is known."""
        return self.state == "up" and self.health in (None, HEALTHY)


def targets_query(cluster: str) -> str:
    """The expression that :func:`targets_of` reads."""
    return f"up{selector(cluster)}"


def targets_of(members: Sequence[tuple[str, str]], samples: Sequence[Sample]) -> tuple[Target, ...]:
    """Every member, up only if it is scraped where the cluster file says. Pure."""
    seen = {(one.labels.get("member"), one.labels.get("instance")): one.value for one in samples}

    def state(name: str, url: str) -> str:
        value = seen.get((name, url.partition("://")[2]))
        return "unknown" if value is None else "up" if value == 1 else "down"

    return tuple(Target(name, url, state(name, url)) for name, url in members)


def missing(action: ProveTargets, samples: Sequence[Sample], since: Mapping[str, float]) -> tuple[str, ...]:
    """What is not proven yet, in words. Pure.

    Args:
        since: Unix time on the host of the last start or reload, by job.
    """
    found = []
    for job in OWN_JOBS.values():
        mine = [one for one in samples if one.labels.get("job") == job]
        if not any(one.labels.get("__name__") == "up" and one.value == 1 for one in mine):
            found.append(f"{job} is not scraped")
        elif job in _RELOADED and not any(
            one.labels.get("__name__") == _RELOADED[job] and one.value >= since.get(job, 0) for one in mine
        ):
            found.append(f"{job} has not taken its new configuration")
    members = [one for one in samples if one.labels.get("__name__") == "up" and "member" in one.labels]
    bad = [one for one in targets_of(action.members, members) if one.state != "up"]
    return (*found, *(f"{one.member} is {one.state} at {one.url}/metrics" for one in bad))


def prove_targets(shell: Shell, action: ProveTargets) -> None:
    """Wait until all is proven, then take the notes away.

    Raises:
        CommandFailed: Something is not, in time.
    """
    jobs, names = "|".join((JOB, *OWN_JOBS.values())), "|".join(("up", *_RELOADED.values()))
    # One selector, as `or` would drop a program's second metric: it compares labels without the name.
    expr = f'{{__name__=~"{names}", job=~"{jobs}", cluster=~"|{action.cluster}"}}'
    since = _since(shell, action)
    left = _wait(action.seconds, lambda: missing(action, ask(shell, action.prometheus, expr), since))
    if left:
        raise CommandFailed(
            "not proven: " + "; ".join(left),
            host=shell.host.name,
            state="Prometheus and Alertmanager run and are configured",
            remedy="for members: do they show metrics on that address (run bootstrap-cluster), and does a firewall let "
            "the monitoring host in? For the others: journalctl there. Then run again",
        )
    shell.run(f"rm -f -- {shlex.join(action.notes)}\n", what="noting that all is proven")


def _since(shell: Shell, action: ProveTargets) -> dict[str, float]:
    """When each program was last started or reloaded, by the notes; one without a note was not touched."""
    script = "".join(f"stat -c '%n %Y' -- {shlex.quote(note)} 2>/dev/null || true\n" for note in action.notes)
    read = dict(line.rsplit(" ", 1) for line in shell.run(script, what="reading notes").text.splitlines())
    names = {note.rpartition("/")[2].partition(".")[0]: float(at) for note, at in read.items()}
    return {job: names[one.service] for one, job in OWN_JOBS.items() if one.service in names}


def _wait(seconds: float, look: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    end = time.monotonic() + seconds
    while left := look():
        if time.monotonic() >= end:
            return left
        time.sleep(_PAUSE)
    return ()


def prove_receivers(shell: Shell, action: ProveReceivers) -> None:
    """Send each receiver a test alert that no other gets, and wait until it took it.

    Alertmanager counts each request to a receiver, and each that failed; Prometheus beside it reads that.

    Raises:
        CommandFailed: A receiver did not take it.
        Several: More than one did not.
    """
    names = "|".join(full for _, full in action.receivers)
    counted = "|".join(_COUNTERS)
    expr = f'sum by (__name__, receiver_name) ({{__name__=~"{counted}", receiver_name=~"{names}"}})'
    before = _counts(ask(shell, action.prometheus, expr))
    shell.run("".join(_test_alert(action, name) for name, _ in action.receivers), what="sending test alerts")

    def left() -> tuple[str, ...]:
        now = _counts(ask(shell, action.prometheus, expr))
        return tuple(name for name, full in action.receivers if not _judged(full, before, now))

    _wait(action.seconds, left)
    now = _counts(ask(shell, action.prometheus, expr))
    errors: list[EtcdFlowsError] = [
        _not_told(shell, name, tried=_more(_FAILED, full, before, now) > 0)
        for name, full in action.receivers
        if not _taken(full, before, now)
    ]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Several("test alerts did not arrive", errors)
    shell.write_files([FileWrite(action.record, action.proven.encode(), 0o644)])


_TRIED = "alertmanager_notification_requests_total"
_FAILED = "alertmanager_notification_requests_failed_total"
_GIVEN_UP = "alertmanager_notifications_failed_total"
_COUNTERS = (_TRIED, _FAILED, _GIVEN_UP)
_OFTEN = 4  # failed attempts, some seconds apart, after which no more is waited for
_Counts = Mapping[tuple[str, str], float]


def _counts(samples: Sequence[Sample]) -> _Counts:
    return {(one.labels.get("__name__", ""), one.labels.get("receiver_name", "")): one.value for one in samples}


def _more(counter: str, receiver: str, before: _Counts, now: _Counts) -> float:
    return now.get((counter, receiver), 0) - before.get((counter, receiver), 0)


def _judged(receiver: str, before: _Counts, now: _Counts) -> bool:
    """Whether it is known how the test went: taken, or refused for good, or failed again and again."""
    given_up = _more(_GIVEN_UP, receiver, before, now) > 0 or _more(_FAILED, receiver, before, now) >= _OFTEN
    return given_up or _taken(receiver, before, now)


def _taken(receiver: str, before: _Counts, now: _Counts) -> bool:
    """Whether a request succeeded: there were more of them than failed."""
    return _more(_TRIED, receiver, before, now) > _more(_FAILED, receiver, before, now)


def _test_alert(action: ProveReceivers, receiver: str) -> str:
    words = [*action.alertmanager.orders("alert", "add"), f"alertname={TEST_ALERT}"]
    words += [f"cluster={action.cluster}", f"{TEST_LABEL}={receiver}", "severity=info"]
    words += [f'--annotation=summary="test alert of etcd-flows to {receiver}; nothing is wrong with {action.cluster}"']
    # A label of its own for each run: Alertmanager tells an alert that it knows only after hours again.
    return (
        f'{shlex.join(words)} "{TEST_LABEL}_at=$(date +%s)" '
        '--end="$(date -u -d "@$(($(date +%s) + 60))" +%Y-%m-%dT%H:%M:%SZ)" </dev/null\n'
    )


def _not_told(shell: Shell, receiver: str, *, tried: bool) -> CommandFailed:
    how = "Alertmanager could not reach it, or it refused" if tried else "Alertmanager has not tried within the time"
    return CommandFailed(
        f"receiver {receiver} did not take a test alert: {how}",
        host=shell.host.name,
        state="Prometheus and Alertmanager run and are configured; alerts to this receiver do not arrive",
        remedy=f"`journalctl -u {ALERTMANAGER.service}` there says why; correct the receiver in the cluster file "
        "and run again",
    )
