from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest

from tasks.errors import ManifestError
from tasks.snapshots.manifest import Manifest, data_key, from_json, is_id, manifest_key, new_id, to_json
from tasks.snapshots.manifest_schema import manifest_schema
from tasks.snapshots.signing import seal
from tests.unit.snapshots.samples import ID, sample_manifest
from tests.unit.snapshots.test_signing import KEY

IMPORTED = sample_manifest(
    kind="imported",
    via="raw",
    members=(),
    hashkv=None,
    cluster_uuid="",
    etcd_cluster_id="",
    recipients=(),
    encryption="none",
    compression="gzip",
    object=data_key(ID, "gzip", "none"),
    notes=(),
)


@pytest.mark.parametrize("manifest", [sample_manifest(), IMPORTED])
def test_a_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    assert from_json(json.loads(json.dumps(to_json(manifest)))) == manifest


def test_keys_of_a_newer_version_are_passed_over() -> None:
    data = {**to_json(sample_manifest()), "colour": "green"}
    data["members"][0]["zone"] = "b"
    assert from_json(data) == sample_manifest()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": "etcd-flows-snapshot/2"}, "not a manifest of the format"),
        ({"id": "../../etc/passwd"}, "is not a snapshot's id"),
        ({"object": "data/../manifests/x.json"}, "names the data of something else"),
        ({"object": data_key(ID, "none", "age")}, "names the data of something else"),
        ({"db_bytes": "20512"}, "db_bytes"),
        ({"db_bytes": -1}, "db_bytes"),
        ({"object_sha256": "short"}, "object_sha256"),
        ({"revision_min": 2000}, "revisions from 2000 to 1010"),
        ({"kind": "other"}, "kind"),
        ({"members": [{"name": "a"}]}, r"members\.0\.id"),
        ({"hashkv": 5}, "hashkv"),
        ({"started": 1e300}, "started"),
        ({"notes": "text"}, "notes"),
    ],
)
def test_what_is_wrong_is_refused_by_name(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ManifestError, match=what):
        from_json({**to_json(sample_manifest()), **changes})


def test_every_key_is_needed_but_those_with_a_default() -> None:
    whole = to_json(sample_manifest())
    for name in whole.keys() - {"requested_by", "reason", "notes"}:
        with pytest.raises(ManifestError):
            from_json({key: value for key, value in whole.items() if key != name})


@pytest.mark.parametrize("data", [None, [], "text", {}, 5])
def test_rubbish_is_no_manifest(data: Any) -> None:
    with pytest.raises(ManifestError):
        from_json(data)


def test_ids_are_utc_and_sort_by_time() -> None:
    east = datetime(2026, 11, 24, 16, 30, tzinfo=timezone(timedelta(hours=2)))
    first, second = new_id(east), new_id(east.astimezone(UTC) + timedelta(seconds=1))
    assert first.startswith("20261124T143000Z-")
    assert first < second
    assert is_id(first)
    assert not is_id(f"{first}/..")
    assert manifest_key(first) == f"manifests/{first}.json"


@pytest.mark.parametrize("manifest", [sample_manifest(), IMPORTED])
def test_real_documents_fit_the_published_schema(manifest: Manifest) -> None:
    schema = manifest_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(seal(to_json(manifest), KEY))
    validator.validate(document)
    validator.validate({"manifest": document["manifest"]})
    document["manifest"]["db_sha256"] = "short"
    assert not validator.is_valid(document)


def test_the_schema_describes_every_key() -> None:
    schema = manifest_schema()
    manifest = schema["properties"]["manifest"]
    assert manifest["properties"].keys() == {"format", *asdict(sample_manifest())}
    for group in (manifest, schema["properties"]["signature"], *schema["$defs"].values()):
        assert all(value["description"] for value in group["properties"].values())
    assert "``" not in json.dumps(schema)
    assert ":func:" not in json.dumps(schema)
