"""Where Kubernetes keeps what, in etcd. Pure.

Below ``/registry`` (kube-apiserver's --etcd-prefix) a key is ``RESOURCE/NAMESPACE/NAME``, or ``RESOURCE/NAME`` for what
has no namespace; of custom resources, CRDs and API services the group stands before: ``GROUP/RESOURCE/...``. A few
resources lie under other names (SpecialDefaultResourcePrefixes in kubernetes/pkg/kubeapiserver).
"""

from __future__ import annotations

from dataclasses import dataclass

REGISTRY = "/registry"

_STORED_AS = {
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
    "endpoints": "services/endpoints",
    "ingresses": "ingress",
    "podsecuritypolicies": "podsecuritypolicy",
}
_CALLED = {stored: called for called, stored in _STORED_AS.items()}

#: Groups whose resources are built in and stored without their group (k8s.io/api).
_BUILT_IN = frozenset(
    {
        "admissionregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)

_SHORT = {
    "po": "pods",
    "svc": "services",
    "ep": "endpoints",
    "cm": "configmaps",
    "ns": "namespaces",
    "no": "nodes",
    "sa": "serviceaccounts",
    "pv": "persistentvolumes",
    "pvc": "persistentvolumeclaims",
    "deploy": "deployments",
    "rs": "replicasets",
    "sts": "statefulsets",
    "ds": "daemonsets",
    "cj": "cronjobs",
    "ing": "ingresses",
    "crd": "customresourcedefinitions.apiextensions.k8s.io",
    "crds": "customresourcedefinitions.apiextensions.k8s.io",
    "customresourcedefinitions": "customresourcedefinitions.apiextensions.k8s.io",
    "apiservices": "apiservices.apiregistration.k8s.io",
}


@dataclass(frozen=True)
class Named:
    """What a key is to Kubernetes.

    Args:
        resource: As ``kubectl`` calls it; with its group where that is part of the key.
        namespace: Empty for what has none.
    """

    resource: str
    namespace: str
    name: str


def named(key: bytes, registry: str = REGISTRY) -> Named | None:
    """What a key is, or None if it is no object of Kubernetes."""
    head = registry_prefix(registry)
    if not key.startswith(head):
        return None
    parts = key[len(head) :].decode(errors="backslashreplace").split("/")
    resource, rest = _resource(parts)
    if not resource or not all(rest) or len(rest) not in (1, 2):
        return None
    return Named(resource, rest[0] if len(rest) == 2 else "", rest[-1])


def _resource(parts: list[str]) -> tuple[str, list[str]]:
    if "/".join(parts[:2]) in _CALLED:
        return _CALLED["/".join(parts[:2])], parts[2:]
    if "." in parts[0] and len(parts) > 1:
        return f"{parts[1]}.{parts[0]}", parts[2:]
    return _CALLED.get(parts[0], parts[0]), parts[1:]


def directories(resource: str, registry: str = REGISTRY) -> tuple[bytes, ...]:
    """Below which prefixes a resource may be kept; more than one where the name alone does not tell.

    Args:
        resource: ``pods``, ``po``, ``deployments.apps``, ``widgets.example.com``.
    """
    head = registry_prefix(registry)
    plural, _, group = _SHORT.get(resource, resource).partition(".")
    places = []
    if not group or group in _BUILT_IN:
        places.append(_STORED_AS.get(plural, plural))
    if "." in group:
        places.append(f"{group}/{plural}")
    elif group and not places:
        places.append(plural)
    return tuple(head + place.encode() + b"/" for place in places)


def registry_prefix(registry: str) -> bytes:
    """With one slash at its end."""
    return registry.rstrip("/").encode() + b"/"
