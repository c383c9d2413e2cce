"""The ``snapshots`` section, resolved."""

from __future__ import annotations

from tasks.cluster.model_snapshots import S3Section, SnapshotsSection, StoreSection
from tasks.cluster.spec import RetentionSettings, S3Settings, SnapshotSettings, StoreSettings
from tasks.cluster.surroundings import Surroundings


def build_snapshots(model: SnapshotsSection, around: Surroundings) -> SnapshotSettings:
    """From the file's keys to complete settings."""
    keep = model.retention
    return SnapshotSettings(
        schedule=model.schedule,
        stores=tuple(_store(store, around) for store in model.stores),
        compression=model.compression,
        recipients=tuple(dict.fromkeys(model.encryption.recipients)),
        passphrase=around.secret(model.encryption.passphrase),
        identity=around.secret(model.encryption.identity),
        public_key=model.signing.public_key,
        private_key=around.secret(model.signing.private_key),
        verify=model.verify,
        verify_schedule=None if model.verify_schedule == "never" else model.verify_schedule,
        spool=model.spool if model.spool in ("auto", "never") else str(around.path(model.spool)),
        retention=RetentionSettings(
            last=keep.last,
            hourly=keep.hourly,
            daily=keep.daily,
            weekly=keep.weekly,
            monthly=keep.monthly,
            max_age_days=keep.max_age,
            min_verified=keep.min_verified,
        ),
    )


def _store(model: StoreSection, around: Surroundings) -> StoreSettings:
    bucket = _s3(model.s3, around) if model.s3 else None
    return StoreSettings(model.name, around.optional_path(model.directory), bucket)


def _s3(model: S3Section, around: Surroundings) -> S3Settings:
    own_server = model.endpoint is not None
    return S3Settings(
        bucket=model.bucket,
        prefix=model.prefix,
        endpoint=model.endpoint,
        region=model.region,
        ca=around.optional_path(model.ca),
        path_style=own_server if model.style == "auto" else model.style == "path",
        access_key=around.secret(model.access_key),
        secret_key=around.secret(model.secret_key),
        session_token=around.secret(model.session_token),
        profile=model.profile,
        server_side_encryption=model.server_side_encryption,
        storage_class=model.storage_class,
        tags=tuple(sorted(model.tags.items())),
        lock=model.lock,
        lock_days=model.lock_for,
    )
