"""The demo's acts in order. Later features add theirs before the last one."""

from __future__ import annotations

from collections.abc import Callable

from deployments.demo import acts, backup_acts, metrics_act, restore_act
from deployments.demo.stage import Stage

Act = tuple[str, Callable[[Stage], str]]

ACTS: tuple[Act, ...] = (
    ("get ready", acts.get_ready),
    ("plan", acts.plan),
    ("bootstrap", acts.bootstrap),
    ("write keys", acts.write_keys),
    ("lose a member", acts.lose_a_member),
    ("bring it back", acts.bring_it_back),
    ("run it again", acts.rerun),
    ("back it up", backup_acts.back_up),
    ("look into the backup", backup_acts.show_catalog),
    ("damage the backup", backup_acts.flip_a_byte),
    ("lose everything", restore_act.lose_everything),
    ("restore", restore_act.restore),
    ("look at the metrics", metrics_act.look_at_metrics),
    ("clean up", acts.destroy),
)
