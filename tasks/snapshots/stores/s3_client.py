"""The client of an S3 server. boto3 is imported with the first request, not before: it costs a quarter of a second."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.cluster.secrets import Secret
from tasks.cluster.spec import S3Settings
from tasks.errors import StoreError

_ATTEMPTS = 6  # in all, with waits of up to 1, 2, 4, 8, 16 s (botocore's standard mode); about 15 s on average
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 60.0  # seconds without a byte
#: S3, and what credentials may be had from; as botocore's list of endpoints calls them.
_SERVICES = frozenset({"s3", "sts", "sso", "portal.sso", "oidc"})
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


@dataclass(frozen=True)
class Credentials:
    """What proves who asks."""

    access_key: Secret
    secret_key: Secret
    session_token: Secret | None


def make_client(settings: S3Settings, credentials: Credentials | None, connections: int) -> Any:
    """A client; threads may share it. No request is sent yet.

    Args:
        settings: The bucket's.
        credentials: None: those that boto3 finds (environment, profile, instance role).
        connections: How many requests run at once at most.

    Raises:
        StoreError: The CA file can't be used.
        botocore.exceptions.BotoCoreError: There is no such profile, or the region is no region.
    """
    import boto3.session
    import botocore.session
    from botocore.config import Config

    inner = botocore.session.Session(profile=settings.profile)
    inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    _forget_other_services(inner)
    session = boto3.session.Session(botocore_session=inner, region_name=settings.region)
    secure = settings.endpoint is None or settings.endpoint.startswith("https")
    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        max_pool_connections=connections,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        # Checksums are computed by s3_upload, which knows whether the server takes them; what comes back is checked.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
        # With TLS the bytes need no signature besides their checksum, without it they do.
        s3={"addressing_style": "path" if settings.path_style else "virtual", "payload_signing_enabled": not secure},
        user_agent_extra="etcd-flows",
    )
    keys = {}
    if credentials is not None:
        token = credentials.session_token
        keys = {
            "aws_access_key_id": credentials.access_key.reveal(),
            "aws_secret_access_key": credentials.secret_key.reveal(),
            "aws_session_token": token.reveal() if token else None,
        }
    return session.client("s3", endpoint_url=settings.endpoint, verify=trusted(settings.ca), config=config, **keys)


def _forget_other_services(session: Any) -> None:
    """Drop the endpoints of some 300 other services of AWS, which botocore would keep: 4 MB."""
    for partition in session.get_component("data_loader").load_data("endpoints")["partitions"]:
        services = partition["services"]
        for name in services.keys() - _SERVICES:
            del services[name]


def parse_time(value: Any) -> datetime:
    """A time in an answer. botocore's own way takes two seconds for a listing of 10,000 objects."""
    from botocore.utils import parse_timestamp

    if isinstance(value, str) and value.endswith("Z") and value[:2] == "20":
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    found: datetime = parse_timestamp(value)
    return found


def trusted(ca: Path | None) -> str | None:
    """File with the CAs that the server's certificate may come from.

    Args:
        ca: From the cluster file.

    Returns:
        The file; else what AWS_CA_BUNDLE or SSL_CERT_FILE name; else the machine's own. None where that has none:
        botocore's list of public CAs then. (Left alone, botocore would pass the machine's over.)

    Raises:
        StoreError: The file can't be used.
    """
    if ca is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except OSError as error:  # ssl.SSLError is one
            raise StoreError(
                f"the CA file {ca} can't be used: {error.strerror or error}",
                state="nothing was sent",
                remedy="correct ca of this store in the cluster file; it is a file of PEM certificates",
            ) from error
        return str(ca)
    if os.environ.get("AWS_CA_BUNDLE"):
        return None  # botocore reads it itself
    found = ssl.get_default_verify_paths().cafile
    return next((path for path in (found, *_BUNDLES) if path and Path(path).is_file()), None)
