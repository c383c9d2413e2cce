"""The kinds of values a cluster file has, each with the check that tells a person what to write instead.

Messages repeat a value only when it consists of what addresses and numbers are made of: a password that slipped into
the wrong key must not end up in a log.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import struct
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tasks.cluster.scalars import PLAIN_SECRET, PLAIN_SECRET_HINT, SECRET_REFERENCE, Odd

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_HARMLESS = re.compile(r"[0-9A-Fa-f.:/\[\]]{1,45}")
_SIZE = re.compile(r"(\d{1,18})\s*([KMGT]i?B?|B)?")
_GO_DURATION = re.compile(r"(\d{1,9}(\.\d{1,9})?(ns|us|ms|s|m|h))+")
_DECIMAL = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_KEY_TYPES = re.compile(r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9-]+@openssh\.com")


class Wrong(ValueError):
    """A value is not what its key wants (pydantic asks for a ValueError; it leaves this room as a Problem)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def shown(value: str) -> str:
    """The value for a message, if it can't be a secret, else ``this``."""
    return value if _HARMLESS.fullmatch(value) else "this"


def member_name(value: str) -> str:
    """A member's name: goes into ETCD_INITIAL_CLUSTER, certificates (as DNS SAN) and file names."""
    if not value or len(value) > 63:
        raise Wrong("a name has 1 to 63 characters")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise Wrong("a name has only letters, digits, '.', '_' and '-'")
    if any(not part or part.startswith("-") for part in value.split(".")):
        raise Wrong("a name starts with a letter, digit or '_', also after each dot, and does not end with a dot")
    return value


def cluster_name(value: str) -> str:
    """A DNS label (RFC 1123, 2.1), as it becomes part of tokens, directories and labels of metrics."""
    if not re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(?<!-)", value):
        raise Wrong("a cluster's name has 1 to 63 lower-case letters, digits and '-', no '-' first or last", "prod-a")
    return value


def ip_address(value: str) -> str:
    """An IP literal in its canonical form."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise Wrong(f"{shown(value)} is not an IP address", _address_hint(value)) from None


def address(value: str) -> str:
    """An IP address or host name (RFC 1123, 2.1) that others reach the member at; canonical form."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return _host_name(value)
    if getattr(parsed, "scope_id", None) or parsed.is_link_local:
        raise Wrong("a link-local address is not the same on every host", "use a routable address or a name")
    if parsed.is_unspecified or parsed.is_multicast or value == "255.255.255.255":
        raise Wrong(f"{shown(value)} is not an address that others can connect to", "for binding use listen_address")
    return str(parsed)


def _host_name(value: str) -> str:
    name = value.removesuffix(".").lower()
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise Wrong(f"{shown(value)} is neither an IP address nor a host name", _address_hint(value))
    return name


def _address_hint(value: str) -> str | None:
    if "://" in value:
        return "write the address alone, without http:// or https://"
    if re.fullmatch(r"\[.*\](:\d+)?", value):
        return "write an IPv6 address without brackets; ports have keys of their own"
    if re.fullmatch(r"[^:]+:\d+", value):
        return "write the address without the port; ports have keys of their own (client_port, peer_port, ssh.port)"
    if "/" in value:
        return "write the address without the network's length (/24)"
    if re.fullmatch(r"[0-9.]+", value):
        return "an IPv4 address is four numbers from 0 to 255, without leading zeros: 10.0.0.11"
    if "_" in value:
        return "'_' is not allowed in host names (RFC 1123)"
    if not value.isascii():
        return "write an international name in its ASCII form (xn--...)"
    return None


def subject_name(value: str) -> str:
    """What may stand in a certificate besides the member's own names: IP, host name, or a wildcard of one level."""
    return f"*.{_host_name(value[2:])}" if value.startswith("*.") else address(value)


def host_path(value: str) -> str:
    """An absolute path on a host, safe to stand in a unit file, an env file and a shell script."""
    if not value.startswith("/"):
        raise Wrong("a path on the hosts must be absolute", "start it with /")
    if not re.fullmatch(r"[A-Za-z0-9/._@+-]{1,200}", value):
        raise Wrong(
            "a path on the hosts has only letters, digits and / . _ @ + - (systemd and shells treat others apart)"
        )
    parts = [part for part in value.split("/") if part]
    if any(part in (".", "..") for part in parts) or not parts:
        raise Wrong("a path on the hosts is not / and has no . or .. in it")
    return "/" + "/".join(parts)


def worker_path(value: str) -> str:
    """A path on the machine that runs the flow; relative ones start from the cluster file's directory."""
    if not value.strip() or any(ord(character) < 32 for character in value) or len(value) > 1000:
        raise Wrong("this is not a path")
    return value


def system_user(value: str) -> str:
    """A Linux account's name (useradd(8))."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", value):
        raise Wrong("a system user has 1 to 31 lower-case letters, digits, '_' and '-'", "etcd")
    return value


def login_user(value: str) -> str:
    r"""An account to log in with; directory accounts (DOMAIN\user, user@domain) are fine."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,63}", value):
        raise Wrong("this is not a user name")
    return value


def secret_reference(value: str) -> str:
    """``env:NAME``, ``file:PATH`` or ``block:TYPE/NAME``; never the secret itself."""
    if not SECRET_REFERENCE.fullmatch(value):
        raise Wrong(PLAIN_SECRET, PLAIN_SECRET_HINT)
    return value


def etcd_version(value: str) -> str:
    """A version of a minor that etcd-flows knows."""
    found = re.fullmatch(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}(?:-(?:alpha|beta|rc)\.\d{1,3})?))?", value)
    if not found:
        raise Wrong("this is not an etcd version", "three numbers: 3.6.16")
    if found[1] != "3" or found[2] not in ("5", "6", "7"):
        raise Wrong(f"etcd {found[1]}.{found[2]} is not supported", "3.5.x, 3.6.x and 3.7.x are")
    if found[3] is None:
        raise Wrong("the patch level is missing", f"three numbers, for example {found[1]}.{found[2]}.0")
    return value.removeprefix("v")


def release_source(value: str) -> str:
    """``official``, an http(s) URL, or a path on the worker."""
    if "://" not in value:
        return worker_path(value)
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", value):
        raise Wrong("a mirror has an http:// or https:// address", "or give a directory or tarball by its path")
    if "@" in value.split("://", 1)[1].split("/", 1)[0]:
        raise Wrong("a URL with a password in it", "serve the mirror without a login, or fetch the tarball beforehand")
    return value.rstrip("/")


def sha256(value: str) -> str:
    """A SHA-256 sum in hex."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise Wrong("a SHA-256 sum has 64 hexadecimal digits", "take it from the release's SHA256SUMS file")
    return value.lower()


def size(value: Any) -> Any:
    """Bytes from ``8GiB``, ``512 MiB``, ``10GB`` or a plain number."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    found = _SIZE.fullmatch(str(value).strip())
    if not found:
        raise Wrong("this is not a size", "8GiB, 512MiB, or a number of bytes")
    number, unit = int(found[1]), found[2] or "B"
    if unit in ("K", "M", "G", "T"):
        raise Wrong("this size can be read in two ways", f"{number}{unit}iB (of 1024) or {number}{unit}B (of 1000)")
    bytes_ = number * (_DECIMAL.get(unit) or 1024 ** " KMGT".index(unit[0]) if unit != "B" else 1)
    if not 2**20 <= bytes_ <= 2**40:
        raise Wrong("out of range: 1MiB to 1TiB", "8GiB is etcd's suggested maximum")
    return bytes_


def retention(value: str) -> str:
    """A Go duration (periodic) or a number of revisions (revision); which one fits is checked with the mode."""
    if re.fullmatch(r"\d{1,12}", value) or _GO_DURATION.fullmatch(value):
        return value
    raise Wrong("this is neither a duration nor a number of revisions", "8h, 30m, 1h30m (Go has no days: 24h)")


def systemd_size(value: str) -> str:
    """A size as systemd.resource-control(5) takes it."""
    if not re.fullmatch(r"\d{1,15}[KMGT]?|(100|\d{1,2})%|infinity", value):
        raise Wrong("this is not a size for systemd", "200M, 1G, 10%, 0")
    return value


def public_host_key(value: str) -> str:
    """``TYPE BASE64``, as in known_hosts without the name; the type inside must agree (RFC 4253, 6.6)."""
    hint = "the line in /etc/ssh/ssh_host_ed25519_key.pub on the host, or of `ssh-keyscan` without the name"
    kind, _, rest = value.strip().partition(" ")
    if not _KEY_TYPES.fullmatch(kind):
        raise Wrong("this is not a public host key", hint)
    text = (rest.split() or [""])[0]
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    if not blob.startswith(struct.pack(">I", len(kind)) + kind.encode()) or len(blob) < len(kind) + 20:
        raise Wrong("this public host key is cut off or garbled", hint)
    return f"{kind} {text}"


def free_text(value: Any) -> Any:
    """Text of one line; numbers and booleans stand for what was written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Odd):
        raise Wrong("this needs quotes")
    if isinstance(value, str) and (len(value) > 4096 or any(ord(character) < 32 for character in value)):
        raise Wrong("a value here is a single line of at most 4096 characters")
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
MemberName = Annotated[str, AfterValidator(member_name)]
ClusterName = Annotated[str, AfterValidator(cluster_name)]
Address = Annotated[str, AfterValidator(address)]
IpAddress = Annotated[str, AfterValidator(ip_address)]
SubjectName = Annotated[str, AfterValidator(subject_name)]
HostPath = Annotated[str, AfterValidator(host_path)]
WorkerPath = Annotated[str, AfterValidator(worker_path)]
SystemUser = Annotated[str, AfterValidator(system_user)]
LoginUser = Annotated[str, AfterValidator(login_user)]
SecretReference = Annotated[
    str, AfterValidator(secret_reference), WithJsonSchema({"type": "string", "pattern": "^(env|file|block):.+|\\$\\{"})
]
Version = Annotated[str, AfterValidator(etcd_version)]
Source = Annotated[str, AfterValidator(release_source)]
Sha256 = Annotated[str, AfterValidator(sha256)]
Size = Annotated[int, BeforeValidator(size), WithJsonSchema({"type": ["string", "integer"]})]
Retention = Annotated[
    str, BeforeValidator(free_text), AfterValidator(retention), WithJsonSchema({"type": ["string", "integer"]})
]
SystemdSize = Annotated[
    str, BeforeValidator(free_text), AfterValidator(systemd_size), WithJsonSchema({"type": ["string", "integer"]})
]
HostKey = Annotated[str, AfterValidator(public_host_key)]
FreeText = Annotated[str, BeforeValidator(free_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
