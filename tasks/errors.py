"""The one tree of errors.

Every error tells the person on call what failed, on which host, why, what state things are in and what to do next.
The command line turns the class into an exit code (:attr:`EtcdFlowsError.exit_code`):

* 1 - the work failed,
* 2 - bad input, nothing was touched,
* 3 - refused by a safety check, nothing was touched.
"""

from __future__ import annotations

from collections.abc import Sequence


class EtcdFlowsError(Exception):
    """Root of all errors raised on purpose.

    Args:
        message: What failed and why, one sentence, no secret in it.
        host: Name of the host it happened on, if it happened on one.
        state: What state things are in now ("nothing was changed", "members keep running").
        remedy: What the person should do next.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, host: str | None = None, state: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.state = state
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.host}: " if self.host else ""
        tail = "".join(
            f"\n  {label}: {text}" for label, text in (("state", self.state), ("what to do", self.remedy)) if text
        )
        return f"{where}{self.message}{tail}"

    def __reduce__(self) -> tuple[object, ...]:
        # Prefect pickles exceptions of task runs; keyword-only arguments would be lost by the default.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(cls: type[EtcdFlowsError], args: tuple[object, ...], state: dict[str, object]) -> EtcdFlowsError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class InputError(EtcdFlowsError):
    """The cluster file, a parameter or a reference to a secret is wrong. Nothing was touched."""

    exit_code = 2


class Refused(EtcdFlowsError):
    """A safety check said no. Nothing was touched."""

    exit_code = 3


class LockHeld(Refused):
    """Another run holds the cluster's lock. Nothing was touched."""


class HostError(EtcdFlowsError):
    """Something failed on, or on the way to, one host."""


class TransientHostError(HostError):
    """May pass by itself (network, timeout, connection cut): worth a retry."""


class HostUnreachable(TransientHostError):
    """No connection could be opened: host down, network, or sshd not answering."""

    def or_else(self, way: str) -> HostUnreachable:
        """The same, and what to do if the host never comes back."""
        remedy = "; ".join(part for part in (self.remedy, f"if the host is gone for good, {way}") if part)
        return HostUnreachable(self.message, host=self.host, state=self.state, remedy=remedy)


class AccessDenied(HostError):
    """The host answered and refused us: authentication, host key, or sudo. Never retried."""


class CommandFailed(HostError):
    """A command ran on the host and did not succeed."""


class LockLost(HostError):
    """The lock of this run was released by force or taken over while it was working. Nothing is changed any more."""


class ReleaseError(EtcdFlowsError):
    """The etcd release could not be had, or is not what its checksum says."""


class PkiError(EtcdFlowsError):
    """Certificate or key material is missing, unreadable, expired or does not belong together."""


class GateFailed(EtcdFlowsError):
    """A member or the cluster did not become healthy in time."""


class StoreError(EtcdFlowsError):
    """A store of snapshots failed or refused; ``transient`` tells whether it may pass by itself."""

    transient = False


class StoreUnavailable(StoreError):
    """A store does not answer, or asks to be spared: worth a retry."""

    transient = True


class StoreMissing(StoreError):
    """There is no such object, bucket or directory."""


class StoreConflict(StoreError):
    """There is such an object already."""


class StoreCorrupt(StoreError):
    """What a store holds is not what was stored there."""


class SnapshotError(EtcdFlowsError):
    """A snapshot could not be captured, or is not whole."""


class SnapshotDamaged(SnapshotError):
    """A snapshot is not what was captured; only another copy, or another snapshot, helps."""


class ManifestError(SnapshotError):
    """A manifest is damaged, forged, foreign, or of an unknown format."""


class DecryptionError(SnapshotError):
    """A snapshot could not be decrypted: wrong key, or its bytes were changed."""


class Several(EtcdFlowsError):
    """More than one thing failed, for instance on several hosts at once.

    Args:
        message: What was being done.
        errors: All that went wrong, in a stable order.
    """

    def __init__(self, message: str, errors: Sequence[EtcdFlowsError]) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
        self.exit_code = max(error.exit_code for error in errors)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"- {error}" for error in self.errors)])
