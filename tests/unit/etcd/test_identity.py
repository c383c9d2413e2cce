"""Whose hosts these are, as they say themselves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tasks.errors import Refused, Several
from tasks.etcd.identity import Identity, common_uuid, render_identity
from tests import etcd_specs as specs

CLUSTER = specs.cluster()
OURS, OTHERS = (
    render_identity(one, CLUSTER.hosts[0], Identity("u-1", "t")).decode()
    for one in (CLUSTER, replace(CLUSTER, name="b"))
)


def test_one_host_that_tells_is_enough() -> None:
    assert common_uuid(CLUSTER, {}) == ""
    assert common_uuid(CLUSTER, {"a": "", "b": "half {", "c": json.dumps([1]), "d": OURS}) == "u-1"


def test_a_host_of_another_cluster_is_not_read_for_this_one() -> None:
    """With a wrong address in the cluster file, a backup would keep another cluster's data under this one's name."""
    with pytest.raises(Refused, match=r"belongs to the cluster 'b'") as one:
        common_uuid(CLUSTER, {"a": OURS, "b": OTHERS})
    assert one.value.host == "b"
    with pytest.raises(Several):
        common_uuid(CLUSTER, {"a": OTHERS, "b": OTHERS})
