"""The forms in Prefect's UI, of the flows as they are."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deployments.declared import OFFERED
from deployments.forms import form
from deployments.registry import flow_object

#: Its members and its stores.
OF_CLUSTER = (("etcd-01", "etcd-02"), ("local", "offsite"))


def form_of(entrypoint: str) -> dict[str, Any]:
    return form(flow_object(entrypoint).parameters.model_dump(exclude_unset=True), "prod-a", *OF_CLUSTER)


@pytest.mark.parametrize("entrypoint", [each.entrypoint for each in OFFERED])
def test_a_person_can_fill_it_in(entrypoint: str) -> None:
    made = form_of(entrypoint)
    Draft202012Validator.check_schema(made)
    check = Draft202012Validator(made)
    needed = {"member": "etcd-01"} if "member" in made["properties"] else {}
    assert check.is_valid({"cluster": "prod-a", **needed})
    assert not check.is_valid({"cluster": "prod-b", **needed}), "that is another deployment's"
    assert not check.is_valid({"cluster": "prod-a", "reson": "misspelt", **needed}), "told before the run begins"
    defaults = {name: field["default"] for name, field in made["properties"].items() if "default" in field}
    assert check.is_valid({**needed, **defaults}), "as the form sends them"
    for name, field in made["properties"].items():
        assert field.get("description"), name
        assert "`" not in field["description"]
        assert "_" not in field["title"]
        assert "anyOf" not in field, f"{name}: the UI would ask whether it is None"
    assert sorted(field["position"] for field in made["properties"].values()) == list(range(len(made["properties"])))


def test_a_member_is_chosen_from_those_that_there_are() -> None:
    check = Draft202012Validator(form_of("flows.replace_member.replace_member"))
    assert check.is_valid({"cluster": "prod-a", "member": "etcd-02"})
    assert not check.is_valid({"cluster": "prod-a", "member": "etcd-2"})


@pytest.mark.parametrize(
    ("entrypoint", "good", "bad"),
    [
        ("flows.disaster_restore.disaster_restore", {"dead": ["etcd-02"]}, {"dead": ["etcd-03"]}),
        ("flows.disaster_restore.disaster_restore", {"fenced": ["etcd-02"]}, {"fenced": ["etcd-03"]}),
        ("flows.disaster_restore.disaster_restore", {"accept": ["no-bump"]}, {"accept": ["old-members-off"]}),
        ("flows.disaster_restore.disaster_restore", {"store": "offsite"}, {"store": "elsewhere"}),
        ("flows.disaster_restore.disaster_restore", {"store": ""}, {"store": None}),
        ("flows.restore_keys.restore_keys", {"accept": ["untrusted"]}, {"accept": ["no-bump"]}),
        ("flows.bootstrap_cluster.bootstrap_cluster", {"accept": ["old-members-off"]}, {"accept": ["has-quorum"]}),
        ("flows.bootstrap_cluster.bootstrap_cluster", {"waive": ["disk-speed"]}, {"waive": ["reachable"]}),
        ("flows.bootstrap_cluster.bootstrap_cluster", {"store": "that of another cluster"}, {"store": 1}),
    ],
)
def test_what_can_be_chosen_is_a_list(entrypoint: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    check = Draft202012Validator(form_of(entrypoint))
    assert check.is_valid({"cluster": "prod-a", **good})
    assert not check.is_valid({"cluster": "prod-a", **bad})


def test_what_changes_nothing_is_offered_first() -> None:
    restore = form_of("flows.disaster_restore.disaster_restore")["properties"]
    first = sorted(restore, key=lambda name: restore[name]["position"])[:6]
    assert first == ["cluster", "plan_only", "snapshot", "confirm", "reason", "requested_by"]
    assert restore["dead"]["default"] == []
    assert restore["from_survivors"]["title"] == "From survivors"
