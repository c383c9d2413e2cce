r"""What a value of Kubernetes says about itself, as far as one has to know it to put it back. Pure; nothing of a value
is ever shown.

Values are JSON (custom resources), or ``k8s\0`` and a ``runtime.Unknown`` whose field 2 holds the object; an object's
field 1 is its ObjectMeta, with the UID in field 5 and the owners in field 13
(k8s.io/apimachinery: runtime/generated.proto, meta/v1/generated.proto). Encrypted ones begin with
``k8s:enc:PROVIDER:vN:KEYNAME:``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_PROTOBUF = b"k8s\0"
_ENCRYPTED = re.compile(rb"k8s:enc:([\w-]+):v\d+:(?:([\w.-]{1,100}):)?")

_RAW = 2  # of runtime.Unknown
_METADATA = 1  # of every object
_UID, _OWNERS = 5, 13  # of ObjectMeta
_OWNER_KIND, _OWNER_NAME, _OWNER_UID = 1, 3, 4  # of OwnerReference


@dataclass(frozen=True)
class Owner:
    """Whom an object belongs to; when no object has that UID any more, the garbage collector removes its dependents."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Object:
    """What is known of a value.

    Args:
        uid: Empty if it has none, or is no object.
        owners: Whom it belongs to.
        encrypted: Provider and key's name, if it is encrypted at rest; then nothing else is known.
    """

    uid: str = ""
    owners: tuple[Owner, ...] = ()
    encrypted: str = ""


def look_at(value: bytes) -> Object:
    """What a value says of itself; an empty :class:`Object` if it is none of Kubernetes'."""
    if sealed := _ENCRYPTED.match(value):
        return Object(encrypted=" ".join(part.decode() for part in sealed.groups() if part))
    try:
        if value.startswith(_PROTOBUF):
            return _from_protobuf(value[len(_PROTOBUF) :])
        return _from_json(value) if value[:1] == b"{" else Object()
    except (ValueError, TypeError, AttributeError):
        return Object()  # it only looked like one


def _from_json(value: bytes) -> Object:
    metadata = json.loads(value).get("metadata") or {}
    owners = metadata.get("ownerReferences") or ()
    return Object(
        str(metadata.get("uid", "")),
        tuple(Owner(str(o.get("kind", "")), str(o.get("name", "")), str(o.get("uid", ""))) for o in owners),
    )


def _from_protobuf(unknown: bytes) -> Object:
    uid, owners = "", []
    for raw in _parts(unknown, _RAW):
        for metadata in _parts(raw, _METADATA):
            uid = next((part.decode() for part in _parts(metadata, _UID)), uid)
            owners += [_owner(part) for part in _parts(metadata, _OWNERS)]
    return Object(uid, tuple(owners))


def _owner(message: bytes) -> Owner:
    kind, name, uid = (
        next((part.decode() for part in _parts(message, field)), "") for field in (_OWNER_KIND, _OWNER_NAME, _OWNER_UID)
    )
    return Owner(kind, name, uid)


def _parts(message: bytes, wanted: int) -> Iterator[bytes]:
    """The length-delimited fields of one number (protobuf.dev/programming-guides/encoding).

    Raises:
        ValueError: It is no protobuf message.
    """
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        match tag & 7:
            case 0:
                _, at = _number(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _number(message, at)
                if at + length > len(message):
                    raise ValueError("cut off")
                if tag >> 3 == wanted:
                    yield message[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                raise ValueError("no field of today's protobuf")


def _number(message: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(message):
        byte = message[at]
        found |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return found, at
    raise ValueError("cut off")
