"""Keys and values of Kubernetes: what they are called, what they say, and that nothing unknown is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.keys.kubernetes import Named, directories, named
from tasks.keys.objects import Object, Owner, look_at
from tasks.keys.selection import select
from tasks.keys.spans import below, only
from tests.unit.keys.keys import json_object, protobuf_object

KEYS = {
    b"/registry/pods/shop/web-1": Named("pods", "shop", "web-1"),
    b"/registry/namespaces/shop": Named("namespaces", "", "shop"),
    b"/registry/minions/node-1": Named("nodes", "", "node-1"),
    b"/registry/services/specs/shop/web": Named("services", "shop", "web"),
    b"/registry/services/endpoints/shop/web": Named("endpoints", "shop", "web"),
    b"/registry/ingress/shop/web": Named("ingresses", "shop", "web"),
    b"/registry/example.com/widgets/shop/w1": Named("widgets.example.com", "shop", "w1"),
    b"/registry/apiextensions.k8s.io/customresourcedefinitions/widgets.example.com": Named(
        "customresourcedefinitions.apiextensions.k8s.io", "", "widgets.example.com"
    ),
    b"/registry/clusterroles/system:node": Named("clusterroles", "", "system:node"),
    b"/registry/masterleases/10.0.0.1": Named("masterleases", "", "10.0.0.1"),
}


@pytest.mark.parametrize(("key", "expected"), KEYS.items(), ids=lambda value: getattr(value, "resource", None))
def test_keys_are_called_as_kubectl_does(key: bytes, expected: Named) -> None:
    assert named(key) == expected
    assert named(key.replace(b"/registry", b"/kubernetes.io"), "/kubernetes.io/") == expected
    chosen = select(
        resources=[expected.resource],
        namespaces=[expected.namespace] if expected.namespace else [],
        names=[expected.name],
    )
    assert key in chosen
    assert [other for other in KEYS if other in chosen] == [key]


@pytest.mark.parametrize(
    "key", [b"compact_rev_key", b"/registry", b"/registry/", b"/registry/pods/", b"/other/pods/a/b"]
)
def test_what_is_no_object(key: bytes) -> None:
    assert named(key) is None


@given(st.binary(max_size=40))
def test_any_key_can_be_asked(tail: bytes) -> None:
    named(tail)
    named(b"/registry/" + tail)


def test_where_resources_are_kept() -> None:
    assert directories("po") == (b"/registry/pods/",)
    assert directories("deployments.apps") == (b"/registry/deployments/",)
    assert directories("leases.coordination.k8s.io") == (
        b"/registry/leases/",
        b"/registry/coordination.k8s.io/leases/",
    )
    assert directories("volumesnapshots.snapshot.storage.k8s.io") == (
        b"/registry/snapshot.storage.k8s.io/volumesnapshots/",
    )
    assert directories("crd") == (b"/registry/apiextensions.k8s.io/customresourcedefinitions/",)


def test_selections() -> None:
    both = select(resources=["pods", "cm"], namespaces=["a", "b"])
    assert both.spans == tuple(
        below(b"/registry/%s/%s/" % pair)
        for pair in ((b"configmaps", b"a"), (b"configmaps", b"b"), (b"pods", b"a"), (b"pods", b"b"))
    )
    everything_in = select(namespaces=["shop"], keys=["/other"])
    assert everything_in.read == (only(b"/other"), below(b"/registry/"))
    inside = [key for key in (*KEYS, b"/other", b"/registry/pods/shopping/x") if key in everything_in]
    assert inside == [
        key for key, found in KEYS.items() if found.namespace == "shop" or key.endswith(b"namespaces/shop")
    ] + [b"/other"]
    assert select(prefixes=[""]).spans == (below(b""),)
    assert select(prefixes=["/a", "/a/b"]).spans == (below(b"/a"),)


@pytest.mark.parametrize(
    "words",
    [{}, {"names": ["x"]}, {"resources": ["pods"], "namespaces": ["a/b"]}, {"resources": [""]}],
    ids=["nothing", "name-alone", "slash", "empty"],
)
def test_choices_that_make_no_sense(words: dict[str, list[str]]) -> None:
    with pytest.raises(InputError):
        select(**words)  # type: ignore[arg-type]


OWNER = ("ReplicaSet", "web-5d", "8d0f6f6e-0000-4000-8000-000000000001")


@pytest.mark.parametrize("make", [protobuf_object, json_object])
def test_owners_are_found(make: object) -> None:
    value = make("web-1", "11111111-0000-4000-8000-000000000001", OWNER)  # type: ignore[operator]
    assert look_at(value) == Object("11111111-0000-4000-8000-000000000001", (Owner(*OWNER),))
    assert look_at(make("web-1", "u")).owners == ()  # type: ignore[operator]


def test_encrypted_values_are_told_with_their_key() -> None:
    assert look_at(b"k8s:enc:aescbc:v1:key1:\x00\x01\x02").encrypted == "aescbc key1"
    assert look_at(b"k8s:enc:kms:v2:vault:\x0a\x01").encrypted == "kms vault"
    assert look_at(b"k8s:enc:secretbox:v1:\xff\xff").encrypted == "secretbox"
    assert look_at(b"plain") == Object()


@given(st.binary(max_size=60))
def test_any_value_can_be_looked_at(tail: bytes) -> None:
    for head in (b"", b"k8s\0", b"{", b"k8s:enc:", b'{"metadata":'):
        look_at(head + tail)
