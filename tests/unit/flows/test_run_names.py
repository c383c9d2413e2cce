"""Runs are called by sentences."""

from __future__ import annotations

import pytest

from flows.run_names import LONGEST, Words, bootstrap_name, keys_name, restore_name, sentence


@pytest.mark.parametrize(
    ("words", "parameters", "said"),
    [
        ("back up {cluster}", {"cluster": "prod-a"}, "back up prod-a"),
        ("back up {cluster}", {"cluster": "/srv/clusters/prod.eu.yaml"}, "back up prod.eu"),
        ("back up {cluster}", {"cluster": "prod.eu", "plan_only": True}, "plan to back up prod.eu"),
        ("replace {member} of {cluster}", {"cluster": "a.yml", "member": "etcd-01"}, "replace etcd-01 of a"),
        (restore_name, {"cluster": "prod-a", "snapshot": "latest"}, "restore prod-a from latest"),
        (restore_name, {"cluster": "prod-a", "file": "/srv/old.db"}, "restore prod-a from old.db"),
        (restore_name, {"cluster": "prod-a", "go_back": True}, "take back the last restore of prod-a"),
        (restore_name, {"cluster": "prod-a", "from_survivors": True}, "restore prod-a from its survivors"),
        (bootstrap_name, {"cluster": "prod-a", "from_snapshot": ""}, "bring up prod-a"),
        (bootstrap_name, {"cluster": "b", "from_snapshot": "latest"}, "bring up b with the data of latest"),
        (keys_name, {"cluster": "prod-a", "snapshot": "latest"}, "compare keys of prod-a with latest"),
        (keys_name, {"cluster": "prod-a", "apply": "d203ef35"}, "restore keys of prod-a"),
    ],
)
def test_what_runs_are_called(words: Words, parameters: dict[str, object], said: str) -> None:
    assert sentence(words, parameters) == said


def test_a_name_stays_on_its_line() -> None:
    said = sentence(restore_name, {"cluster": "prod-a", "snapshot": "before " + "x" * 500})
    assert len(said) == LONGEST
    assert said.startswith("restore prod-a from before xx")
