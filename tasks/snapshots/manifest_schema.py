"""The JSON Schema of a manifest as it lies in a store, for tools that are not ours. Made from the dataclasses."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import TypeAdapter

from tasks.snapshots.manifest import FORMAT, HashKV, Manifest, ManifestMember

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ID = f"urn:{FORMAT.replace('/', ':')}"
_BASE64 = "[A-Za-z0-9+/]+={0,2}"


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``manifests/ID.json``: the manifest and its signature.

    Keys that it does not name may be there: a newer version may add some. Whether the signature fits no schema can
    tell; how it is made stands in :mod:`tasks.snapshots.signing`.
    """
    manifest = TypeAdapter(Manifest).json_schema(mode="validation")
    groups = manifest.pop("$defs")
    for group, origin in ((manifest, Manifest), (groups["HashKV"], HashKV), (groups["ManifestMember"], ManifestMember)):
        _describe(group, origin)
    manifest["properties"] = {"format": {"const": FORMAT, "description": "Of this text."}, **manifest["properties"]}
    manifest["required"] = ["format", *manifest["required"]]
    return {
        "$schema": _DIALECT,
        "$id": _ID,
        "title": "etcd-flows snapshot manifest",
        "type": "object",
        "properties": {"manifest": manifest, "signature": _SIGNATURE},
        "required": ["manifest"],
        "additionalProperties": False,
        "$defs": groups,
    }


_SIGNATURE = {
    "type": "object",
    "description": "Over the manifest. A manifest without one may have been made by anyone.",
    "properties": {
        "algorithm": {"const": "ed25519", "description": "RFC 8032."},
        "signer": {"type": "string", "pattern": f"^ed25519:{_BASE64}$", "description": "The public key."},
        "value": {"type": "string", "pattern": f"^{_BASE64}$", "description": "The signature."},
    },
    "required": ["algorithm", "signer", "value"],
    "additionalProperties": False,
}


def _describe(group: dict[str, Any], origin: type) -> None:
    """Put the docstring's words where a schema has them."""
    summary, _, arguments = inspect.cleandoc(origin.__doc__ or "").partition("Args:\n")
    group["description"] = _plain(summary)
    group.pop("title")
    meanings = {name: _plain(text) for name, text in re.findall(r"^    (\w+): ((?:.|\n     )+)", arguments, re.M)}
    for name, value in group["properties"].items():
        value.pop("title", None)
        value["description"] = meanings[name]


def _plain(text: str) -> str:
    """A docstring's words without its markup."""
    return " ".join(re.sub(r":\w+:`(?:\w+\.)*(\w+)`|``", r"\1", text).split())
