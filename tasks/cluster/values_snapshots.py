"""The kinds of values that the ``snapshots`` section has, each with what to write instead."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from tasks.cluster.values import Wrong

_DAYS = {"m": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.0}
_CRON_FIELD = r"(\*|[0-9A-Za-z,\-]+)(/[0-9]+)?"
_CRON = re.compile(rf"{_CRON_FIELD}( {_CRON_FIELD}){{4}}")


def store_name(value: str) -> str:
    """A store's name: stands in manifests, reports and metrics."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", value):
        raise Wrong("a store's name has 1 to 40 lower-case letters, digits and '-'", "offsite")
    return value


def bucket_name(value: str) -> str:
    """A bucket (S3's naming rules, general purpose buckets)."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value) or ".." in value:
        raise Wrong("a bucket's name has 3 to 63 lower-case letters, digits, '.' and '-'", "etcd-backups")
    return value


def key_prefix(value: str) -> str:
    """What stands before every object's key; ends in one slash unless it is empty."""
    if not re.fullmatch(r"[A-Za-z0-9/._=-]{0,200}", value) or any(p in ("..", ".") for p in value.split("/")):
        raise Wrong("a prefix has only letters, digits and / . _ = - and no .. in it", "clusters/etcd/")
    bare = "/".join(part for part in value.split("/") if part)
    return f"{bare}/" if bare else ""


def endpoint_url(value: str) -> str:
    """An S3 server's address."""
    if not re.fullmatch(r"https?://[^\s/?#@]+", value.rstrip("/")):
        raise Wrong("an endpoint is http(s)://HOST or http(s)://HOST:PORT", "https://s3.example.com")
    return value.rstrip("/")


def cron(value: str) -> str:
    """Five fields of cron; what they mean exactly is Prefect's business."""
    if not _CRON.fullmatch(" ".join(value.split())):
        raise Wrong("a schedule has the five fields of cron", "0 */6 * * * (every six hours)")
    return " ".join(value.split())


def recipient(value: str) -> str:
    """A public key of age (X25519): ``age1`` and 58 characters of bech32."""
    if value.startswith("AGE-SECRET-KEY-"):
        raise Wrong("that is the secret key", "the public one begins with age1; `age-keygen -y FILE` prints it")
    if not re.fullmatch(r"age1[02-9ac-hj-np-z]{58}", value):
        raise Wrong("this is not a public key of age", "`age-keygen` prints it: age1...")
    return value


def signer(value: str) -> str:
    """``ed25519:BASE64``, the public key that manifests are signed for."""
    kind, _, text = value.partition(":")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if kind != "ed25519" or len(raw) != 32:
        raise Wrong("this is not a public signing key", "ed25519:..., as `etcd-flows snapshots key CLUSTER` prints it")
    return value


def span(value: Any) -> Any:
    """A time of minutes, hours, days, weeks or years, in days: ``36h`` is 1.5."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*([mhdwy])", str(value).strip())
    if not found:
        raise Wrong("this is not a span of time", "30m, 36h, 14d, 6w or 2y")
    return float(found[1]) * _DAYS[found[2]]


def cron_or_never(value: str) -> str:
    """As :func:`cron`, or ``never``: where empty means the default, which is a time."""
    return value if value == "never" else cron(value)


def spool(value: str) -> str:
    """``auto``, ``never`` or a directory on the worker."""
    if value in ("auto", "never") or re.fullmatch(r"(/|~/|\.{1,2}/)[^\x00-\x1f]{0,999}", value):
        return value
    raise Wrong("this is neither auto nor never nor the path of a directory", "auto, or /var/spool/etcd-flows")


StoreName = Annotated[str, AfterValidator(store_name)]
Bucket = Annotated[str, AfterValidator(bucket_name)]
KeyPrefix = Annotated[str, AfterValidator(key_prefix)]
Endpoint = Annotated[str, AfterValidator(endpoint_url)]
Cron = Annotated[str, AfterValidator(cron)]
CronOrNever = Annotated[str, AfterValidator(cron_or_never)]
Recipient = Annotated[str, AfterValidator(recipient)]
Signer = Annotated[str, AfterValidator(signer)]
Span = Annotated[float, BeforeValidator(span), WithJsonSchema({"type": "string"})]
Spool = Annotated[str, AfterValidator(spool)]
