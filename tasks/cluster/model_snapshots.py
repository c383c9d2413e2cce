"""The cluster file's keys for snapshots: when, where to, how protected, how long kept."""

from __future__ import annotations

from typing import Literal

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.values import FreeText, SecretReference, WorkerPath
from tasks.cluster.values_snapshots import (
    Bucket,
    Cron,
    CronOrNever,
    Endpoint,
    KeyPrefix,
    Recipient,
    Signer,
    Span,
    Spool,
    StoreName,
)


class S3Section(Section):
    """A bucket on an S3-compatible server."""

    bucket: Bucket = entry(..., "The bucket; it has to exist.", "etcd-backups")
    prefix: KeyPrefix = entry(
        "", "Put before every key. None by default: the cluster's name comes first anyway.", "clusters/"
    )
    endpoint: Endpoint | None = entry(
        None, "Address of the S3 server. Default: AWS's own for the region.", "https://s3.example.com"
    )
    region: str = entry(
        "us-east-1", "Region; us-east-1 because servers other than AWS mostly take it.", "eu-central-1", max_length=60
    )
    ca: WorkerPath | None = entry(
        None,
        "File with the CA of the server's certificate. Default: the CAs that this machine trusts.",
        "/etc/ssl/s3-ca.crt",
    )
    style: Literal["auto", "path", "virtual"] = entry(
        "auto",
        "How the bucket is named in a URL. auto: `path` with an endpoint of your own, as most servers want it, else "
        "`virtual` as AWS does.",
        "path",
    )
    access_key: SecretReference | None = entry(
        None,
        "Access key id, by reference. Default: as boto3 finds it (environment, profile, instance role).",
        "env:BACKUP_ACCESS_KEY",
    )
    secret_key: SecretReference | None = entry(
        None, "Secret key, by reference. Default: together with access_key, as boto3 finds it.", "env:BACKUP_SECRET_KEY"
    )
    session_token: SecretReference | None = entry(
        None, "Session token of temporary credentials, by reference. Default: none.", "env:BACKUP_SESSION_TOKEN"
    )
    profile: str | None = entry(
        None, "Profile in ~/.aws to take credentials from. Default: none is named.", "backup", max_length=100
    )
    server_side_encryption: Literal["none", "AES256"] = entry(
        "none",
        "SSE-S3: the server encrypts what it stores. none by default, since `encryption` here protects from the "
        "server too.",
        "AES256",
    )
    storage_class: str | None = entry(
        None, "Storage class of the data. Default: the bucket's own.", "STANDARD_IA", max_length=60
    )
    tags: dict[str, FreeText] = entry({}, "Tags put on the data objects. Default: none.", {"team": "platform"})
    lock: Literal["none", "governance", "compliance"] = entry(
        "none",
        "Object lock: until `lock_for` is over nobody can delete a snapshot (governance: but with a special right). "
        "none by default, as the bucket must have been made for it.",
        "governance",
    )
    lock_for: Span = entry(
        "14d",
        "How long objects stay locked, from the end of the backup; two weeks leave time to notice an intruder.",
        "30d",
        validate_default=True,
    )


class StoreSection(Section):
    """A place where snapshots are kept."""

    name: StoreName = entry(..., "Name of the store; stands in manifests and reports.", "offsite")
    directory: WorkerPath | None = entry(
        None,
        "A directory on the worker, or a file system mounted there. Default: none; either this or `s3`.",
        "/srv/backups",
    )
    s3: S3Section | None = entry(
        None, "A bucket. Default: none; either this or `directory`.", {"bucket": "etcd-backups"}
    )


class EncryptionSection(Section):
    """Encryption before anything leaves the worker (age v1 format; stock `age` opens it)."""

    recipients: tuple[Recipient, ...] = entry(
        (),
        "Public keys of age that can open the snapshots; the worker then can't read old ones. Default: none, the "
        "store holds them in clear.",
        ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
    )
    passphrase: SecretReference | None = entry(
        None, "Passphrase instead of recipients, by reference. Default: none.", "env:SNAPSHOT_PASSPHRASE"
    )
    identity: SecretReference | None = entry(
        None,
        "Secret key of age (AGE-SECRET-KEY-1...), by reference; needed to verify, drill and restore, not to back up. "
        "Default: none; it may stay away from the worker until then.",
        "file:/run/secrets/age-key",
    )


class SigningSection(Section):
    """Who may make snapshots that are trusted."""

    public_key: Signer | None = entry(
        None,
        "Public key that manifests have to be signed for. Default: that of the key in pki.state_dir; pin it so that a "
        "machine without that directory knows it too.",
        "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    )
    private_key: SecretReference | None = entry(
        None,
        "Key that signs, by reference (PEM, Ed25519). Default: made in pki.state_dir at the first backup.",
        "file:/run/secrets/snapshot-signing.key",
    )


class RetentionSection(Section):
    """What is kept; a snapshot goes only when no rule keeps it."""

    last: int = entry(12, "The newest so many; at every six hours three days without a gap.", 24, ge=1, le=100_000)
    hourly: int = entry(0, "One for each of so many hours. None by default: `last` covers them.", 24, ge=0, le=10_000)
    daily: int = entry(14, "One for each of so many days; two weeks cover a holiday.", 30, ge=0, le=10_000)
    weekly: int = entry(8, "One for each of so many weeks.", 4, ge=0, le=10_000)
    monthly: int = entry(12, "One for each of so many months.", 6, ge=0, le=10_000)
    max_age: Span | None = entry(
        None, "Nothing older is kept, whatever the other rules say. Default: no limit; mind laws.", "1y"
    )
    min_verified: int = entry(
        2,
        "So many verified snapshots (opened or restored) are never removed, and the newest neither. Two, so that one "
        "may turn out bad.",
        3,
        ge=1,
        le=1000,
    )


class SnapshotsSection(Section):
    """Backups."""

    schedule: Cron | None = entry(
        "0 */6 * * *",
        "When backups are made, as cron; UTC. Every six hours by default: what you lose at most is what was written "
        "since.",
        "*/30 * * * *",
    )
    stores: tuple[StoreSection, ...] = entry(
        (),
        "Where snapshots go; each gets every snapshot. Default: none, then there are no backups.",
        [{"name": "local", "directory": "/srv/backups"}],
        max_length=8,
    )
    compression: Literal["auto", "zstd", "none"] = entry(
        "auto", "auto looks at the first megabytes and compresses (zstd) if it saves enough.", "zstd"
    )
    encryption: EncryptionSection = section(
        EncryptionSection,
        "Encryption on the worker.",
        {"recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]},
    )
    signing: SigningSection = section(
        SigningSection, "Signatures of manifests.", {"private_key": "file:/run/secrets/snapshot-signing.key"}
    )
    verify: Literal["stored", "opened"] = entry(
        "stored",
        "How far each backup is proven at once. stored: what the store holds was checked; opened: it was also read "
        "and checked as a database, which needs its size in scratch space and, if encrypted, the identity.",
        "opened",
    )
    verify_schedule: CronOrNever = entry(
        "30 3 * * *",
        "When stored snapshots that nobody has opened are (`verify-snapshots`), as cron; UTC; or `never`. Every night "
        "by default; not where the identity is not on the worker, which then can't read them.",
        "0 */8 * * *",
    )
    spool: Spool = entry(
        "auto",
        "Whether a snapshot passes through the worker's disk. auto: only while a store is too slow, since etcd can't "
        "free pages as long as it is read; never; or the directory to use.",
        "/var/spool/etcd-flows",
    )
    retention: RetentionSection = section(
        RetentionSection, "What is kept; a snapshot that no rule keeps is removed.", {"last": 12, "daily": 14}
    )
