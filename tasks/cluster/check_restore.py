"""Hooks around a restore that do not fit together."""

from __future__ import annotations

from typing import Literal

from tasks.cluster.checked import Checked
from tasks.cluster.problems import KeyPath


def check_restore(checked: Checked) -> None:
    """Note hooks of one list that have the same name, and logins for where there is none."""
    _check(checked, "before_stop")
    _check(checked, "after_proof")


def _check(checked: Checked, which: Literal["before_stop", "after_proof"]) -> None:
    seen: set[str] = set()
    for index, hook in enumerate(getattr(checked.model.restore, which)):
        path: KeyPath = ("restore", which, index)
        if hook.name in seen:
            checked.note((*path, "name"), f"another hook is called {hook.name} too", "names tell hooks apart")
        seen.add(hook.name)
        if hook.machine == "local" and hook.ssh.model_fields_set:
            checked.note(
                (*path, "ssh"), "nobody logs in where the flow runs", "leave ssh out, or say `machine: ADDRESS`"
            )
