"""Which keys a person means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.errors import InputError
from tasks.keys.kubernetes import REGISTRY, directories, named, registry_prefix
from tasks.keys.spans import Span, below, merged, only


@dataclass(frozen=True)
class Selection:
    """Chosen keys.

    Args:
        spans: Ranges of keys, in order, that all belong to it.
        namespaces: If any are named without a resource: whatever is in these namespaces belongs to it as well.
        registry: Where Kubernetes keeps its objects.
        words: What was asked for.
    """

    spans: tuple[Span, ...]
    namespaces: tuple[str, ...] = ()
    registry: str = REGISTRY
    words: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[Span, ...]:
        """What has to be read to see all of it."""
        if not self.namespaces:
            return self.spans
        return merged((*self.spans, below(registry_prefix(self.registry))))

    def __contains__(self, key: bytes) -> bool:
        if any(key in span for span in self.spans):
            return True
        found = named(key, self.registry) if self.namespaces else None
        return found is not None and found.namespace in self.namespaces


def select(
    keys: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    resources: Sequence[str] = (),
    namespaces: Sequence[str] = (),
    names: Sequence[str] = (),
    registry: str = REGISTRY,
) -> Selection:
    """What is meant: all of these keys, all below these prefixes, and these objects of Kubernetes.

    Args:
        keys: Whole keys.
        prefixes: Beginnings of keys; an empty one means all.
        resources: Of these kinds of objects ...
        namespaces: ... those in any of these namespaces; of all kinds if no resource is named ...
        names: ... that have one of these names.
        registry: kube-apiserver's --etcd-prefix.

    Raises:
        InputError: Nothing is chosen, or the choice makes no sense.
    """
    if not (keys or prefixes or resources or namespaces or names):
        raise InputError(
            "no keys were chosen",
            state="nothing was changed",
            remedy="say which: --key, --prefix (an empty one means all), or --resource, --namespace, --name",
        )
    if names and not resources:
        raise InputError("names alone choose nothing", state="nothing was changed", remedy="say --resource as well")
    for word in (*resources, *namespaces, *names):
        if not word or "/" in word:
            raise InputError(
                f"{word[:60]!r} is no resource, namespace or name",
                state="nothing was changed",
                remedy="write it as kubectl does: pods, deployments.apps, kube-system",
            )
    spans = [only(key.encode(errors="surrogateescape")) for key in keys]
    spans += [below(prefix.encode(errors="surrogateescape")) for prefix in prefixes]
    for resource in resources:
        for directory in directories(resource, registry):
            spans += _objects(directory, namespaces, names)
    everything_in = () if resources else tuple(namespaces)
    if not resources:
        spans += [only(directory + n.encode()) for n in namespaces for directory in directories("namespaces", registry)]
    return Selection(
        merged(spans), everything_in, registry, _words(keys, prefixes, resources, namespaces, names, registry)
    )


def _objects(directory: bytes, namespaces: Sequence[str], names: Sequence[str]) -> list[Span]:
    places = [directory + namespace.encode() + b"/" for namespace in namespaces] or [directory]
    if not names:
        return [below(place) for place in places]
    return [only(place + name.encode()) for place in places for name in names]


def _words(
    keys: Sequence[str],
    prefixes: Sequence[str],
    resources: Sequence[str],
    namespaces: Sequence[str],
    names: Sequence[str],
    registry: str,
) -> tuple[str, ...]:
    given = {
        "--key": keys,
        "--prefix": prefixes,
        "--resource": resources,
        "--namespace": namespaces,
        "--name": names,
        "--kubernetes-prefix": () if registry == REGISTRY else (registry,),
    }
    return tuple(word for option, values in given.items() for value in values for word in (option, value))
