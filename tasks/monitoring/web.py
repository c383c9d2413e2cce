"""TLS and a login for Prometheus and Alertmanager: the exporter toolkit's web configuration, and its other side. Pure.

Passwords are hashed on the worker (bcrypt). Since each hash has a salt of its own, it is kept in the state directory
and made anew only for another password: else no run would ever find nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bcrypt
import yaml

from tasks.cluster.spec_monitoring import Watch
from tasks.etcd.unit import HEAD

#: Files of each program's directory that are about this.
OPEN_NAMES = ("web.yml", "web.crt", "client.yml")
SECRET_NAMES = ("web.key", "web.password")


@dataclass(frozen=True)
class WebInputs:
    """What the worker adds to the cluster file.

    Args:
        certificate: PEM, empty for plain http.
        name: A name or address in it, by which the programs check each other.
        login: The web configuration's hash of the password, empty for no login.
    """

    certificate: bytes = b""
    name: str = ""
    login: str = ""


def hashed(password: str, kept: str | None) -> str:
    """The hash that is kept if it is this password's, else a new one."""
    secret = password.encode()[:72]  # bcrypt looks at no more than that, and newer versions refuse more
    if kept and bcrypt.checkpw(secret, kept.encode()):
        return kept
    return bcrypt.hashpw(secret, bcrypt.gensalt(10)).decode()


def server_file(watch: Watch, inputs: WebInputs) -> str:
    """``web.yml``."""
    data: dict[str, Any] = {}
    if inputs.certificate:
        data["tls_server_config"] = {"cert_file": "web.crt", "key_file": "web.key"}
    if watch.web.user:
        data["basic_auth_users"] = {watch.web.user: inputs.login}
    return f"# {HEAD}\n" + yaml.safe_dump(data, sort_keys=False, width=10_000)


def client(watch: Watch, folder: str, name: str) -> dict[str, Any]:
    """How Prometheus and the tools speak to them; the certificate itself is what is trusted."""
    found: dict[str, Any] = {}
    if watch.web.certificate:
        tls = {"ca_file": f"{folder}web.crt", **({"server_name": name} if name else {})}
        found |= {"scheme": "https", "tls_config": tls}
    if watch.web.user:
        found["basic_auth"] = {"username": watch.web.user, "password_file": f"{folder}web.password"}
    return found


def client_file(watch: Watch, folder: str, name: str) -> str:
    """``client.yml``, for promtool and amtool."""
    data = client(watch, folder, name)
    data.pop("scheme", None)
    return f"# {HEAD}\n" + yaml.safe_dump(data, sort_keys=False, width=10_000)


def kept_hash(text: str | None, user: str) -> str | None:
    """The hash of that user out of the state directory's file."""
    try:
        read: Mapping[str, Any] = json.loads(text or "{}")
        found = read.get(user)
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
