"""What people should know before they put objects of Kubernetes back behind the API server's back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.etcd.rpc_types import KeyValue
from tasks.keys.decide import Outcome
from tasks.keys.kubernetes import REGISTRY, directories, named
from tasks.keys.merge import Pair
from tasks.keys.objects import Owner, look_at
from tasks.keys.shown import key_text
from tasks.reporting.human import plural, visible

#: UIDs and owners that are remembered; beyond that the warning is more general.
_MOST = 100_000


@dataclass
class Watcher:
    """Looks at every key that is read for a plan, and remembers what matters.

    Args:
        registry: Where Kubernetes keeps its objects.
    """

    registry: str = REGISTRY
    encrypted: Counter[str] = field(default_factory=Counter)
    owned: int = 0
    loses_lease: int = 0
    _there: set[str] = field(default_factory=set)
    _owners: dict[str, tuple[Owner, bytes]] = field(default_factory=dict)
    _namespaces: dict[str, bytes] = field(default_factory=dict)
    _put_back: set[bytes] = field(default_factory=set)

    def see(self, pair: Pair, what: Outcome) -> None:
        """One key, and what was decided about it."""
        then, now = pair
        if then is not None and what in ("add", "overwrite"):
            self._put(then)
            self.loses_lease += bool(then.lease or (now is not None and now.lease))
        elif now is not None and what != "delete" and len(self._there) < _MOST:
            self._there.add(look_at(now.value).uid)

    def _put(self, item: KeyValue) -> None:
        found = look_at(item.value)
        if found.encrypted:
            self.encrypted[found.encrypted] += 1
        if len(self._there) < _MOST:
            self._there.add(found.uid)
        self.owned += bool(found.owners)
        for owner in found.owners:
            if len(self._owners) < _MOST:
                self._owners.setdefault(owner.uid, (owner, item.key))
        place = named(item.key, self.registry)
        if place is not None and place.namespace:
            self._namespaces.setdefault(place.namespace, item.key)
        elif place is not None and place.resource == "namespaces":
            self._put_back.add(item.key)

    def warnings(self, exists: Callable[[bytes], bool]) -> tuple[str, ...]:
        """What is to be said.

        Args:
            exists: Whether the running cluster has a key.
        """
        said = [self._about_encryption(), self._about_owners(), self._about_namespaces(exists)]
        if self.loses_lease:
            said.append(
                f"put back without the lease that they had: {plural(self.loses_lease, 'key')}, which will stay until "
                "somebody deletes them"
            )
        return tuple(text for text in said if text)

    def _about_encryption(self) -> str:
        if not self.encrypted:
            return ""
        keys = ", ".join(sorted(self.encrypted))
        count = plural(sum(self.encrypted.values()), "value")
        return (
            f"encrypted at rest: {count} ({keys}); the API server can read that only if its EncryptionConfiguration "
            "still has the key"
        )

    def _about_owners(self) -> str:
        if not self.owned:
            return ""
        missing = [pair for uid, pair in self._owners.items() if uid not in self._there]
        text = (
            f"with an owner (ownerReferences): {plural(self.owned, 'object')}; Kubernetes' garbage collector removes "
            "again what is put back, unless its owner, with the same UID, is there"
        )
        if not missing:
            return f"{text}; all of these owners are among the chosen keys"
        owner, key = missing[0]
        whose = f"{visible(owner.kind)} {visible(owner.name)} of {key_text(key)}"
        return (
            f"{text}. Not among the chosen keys: {plural(len(missing), 'owner')}, {whose} for one: see that they are "
            "there, or choose them too"
        )

    def _about_namespaces(self, exists: Callable[[bytes], bool]) -> str:
        gone = sorted(name for name in self._namespaces if not self._namespace_there(name, exists))
        if not gone:
            return ""
        names = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
        return f"the namespace of some objects is not there and is not put back: {visible(names)}; choose it too"

    def _namespace_there(self, name: str, exists: Callable[[bytes], bool]) -> bool:
        keys = [directory + name.encode() for directory in directories("namespaces", self.registry)]
        return any(key in self._put_back or exists(key) for key in keys)
