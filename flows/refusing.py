"""Saying no, with all reasons at once."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.errors import EtcdFlowsError, Several


def refuse(reasons: Sequence[EtcdFlowsError]) -> None:
    """Raise what speaks against going on; nothing if nothing does.

    Raises:
        EtcdFlowsError: The only reason.
        Several: All of them.
    """
    if len(reasons) == 1:
        raise reasons[0]
    if reasons:
        raise Several("refused, nothing was changed on any host", reasons)
