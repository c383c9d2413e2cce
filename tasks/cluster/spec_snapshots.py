"""Backups as the rest of the program sees them; part of :mod:`tasks.cluster.spec`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.cluster.spec_hosts import SecretRef


@dataclass(frozen=True)
class S3Settings:
    """A bucket on an S3-compatible server.

    Args:
        prefix: Ends in a slash unless empty.
        endpoint: None for AWS's own.
        ca: CA file for the server's certificate, None for the system's.
        path_style: Whether the bucket stands in the URL's path.
        lock: Object lock's mode.
        lock_days: How long objects stay locked, from the end of the backup.
    """

    bucket: str
    prefix: str
    endpoint: str | None
    region: str
    ca: Path | None
    path_style: bool
    access_key: SecretRef | None
    secret_key: SecretRef | None
    session_token: SecretRef | None
    profile: str | None
    server_side_encryption: Literal["none", "AES256"]
    storage_class: str | None
    tags: tuple[tuple[str, str], ...]
    lock: Literal["none", "governance", "compliance"]
    lock_days: float


@dataclass(frozen=True)
class StoreSettings:
    """A place where snapshots are kept: a directory, or a bucket."""

    name: str
    directory: Path | None = None
    s3: S3Settings | None = None


@dataclass(frozen=True)
class RetentionSettings:
    """What is kept; see the cluster file's ``snapshots.retention``.

    Args:
        max_age_days: None for no limit.
    """

    last: int
    hourly: int
    daily: int
    weekly: int
    monthly: int
    max_age_days: float | None
    min_verified: int


@dataclass(frozen=True)
class SnapshotSettings:
    """Backups.

    Args:
        schedule: Cron in UTC, or None.
        recipients: Public keys of age; with neither these nor a passphrase snapshots are stored in clear.
        identity: Secret key of age, for those who read snapshots.
        public_key: Pinned ``ed25519:...`` that manifests have to be signed for, or None for the state directory's.
        private_key: That signs; None for the one in the state directory.
        verify_schedule: When stored snapshots are opened; cron in UTC, or None.
        spool: ``auto``, ``never``, or a directory on the worker.
    """

    schedule: str | None
    stores: tuple[StoreSettings, ...]
    compression: Literal["auto", "zstd", "none"]
    recipients: tuple[str, ...]
    passphrase: SecretRef | None
    identity: SecretRef | None
    public_key: str | None
    private_key: SecretRef | None
    verify: Literal["stored", "opened"]
    verify_schedule: str | None
    spool: str
    retention: RetentionSettings

    @property
    def encrypted(self) -> bool:
        """Whether snapshots are encrypted before they leave the worker."""
        return bool(self.recipients or self.passphrase)


#: Settings of a cluster that is not backed up.
NO_SNAPSHOTS = SnapshotSettings(
    schedule=None,
    stores=(),
    compression="auto",
    recipients=(),
    passphrase=None,
    identity=None,
    public_key=None,
    private_key=None,
    verify="stored",
    verify_schedule=None,
    spool="auto",
    retention=RetentionSettings(12, 0, 14, 8, 12, None, 2),
)
