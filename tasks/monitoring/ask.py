"""Asking Prometheus on its own host, by promtool: nothing but the release is needed there, no curl."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.errors import CommandFailed
from tasks.hosts.shell import Shell
from tasks.monitoring.programs import Access


@dataclass(frozen=True)
class Sample:
    """One series now."""

    labels: Mapping[str, str]
    value: float


def ask(shell: Shell, prometheus: Access, expr: str) -> tuple[Sample, ...]:
    """What an expression gives now.

    Args:
        prometheus: How it is asked there.

    Raises:
        CommandFailed: Prometheus does not answer.
    """
    words = shlex.join([*prometheus.words("query", "instant"), "-o", "json", prometheus.url, expr])
    output = shell.run(f"{words} </dev/null\n", what="asking Prometheus")
    try:
        rows = json.loads(output.stdout or b"[]")
        return tuple(Sample({str(k): str(v) for k, v in row["metric"].items()}, float(row["value"][1])) for row in rows)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CommandFailed(
            "what Prometheus answered can't be read",
            host=shell.host.name,
            state="nothing was changed",
            remedy=f"`{words}` there",
        ) from error
