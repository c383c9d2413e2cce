from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cluster.spec import SecretRef
from tasks.errors import InputError, ManifestError, PkiError
from tasks.pki.signing import key_pem
from tasks.snapshots.manifest import to_json
from tasks.snapshots.signing import (
    KEY_FILE,
    SigningKey,
    ensure_signing_key,
    public_key_text,
    seal,
    trusted_key,
    unseal,
)
from tests.unit.snapshots.samples import sample_cluster, sample_manifest

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
TRUSTED = public_key_text(KEY)
SEALED = seal(to_json(sample_manifest()), KEY)

_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_payloads = st.dictionaries(
    st.text(), st.recursive(_leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
)


@given(_payloads)
@settings(max_examples=50)
def test_what_was_sealed_is_signed_and_comes_back(payload: dict[str, object]) -> None:
    try:
        sealed = seal(payload, KEY)
    except UnicodeEncodeError:  # half of a surrogate pair: no text
        return
    found = unseal(sealed, TRUSTED)
    assert (found.payload, found.trust, found.signer) == (payload, "signed", TRUSTED)


def test_the_document_is_for_people_too() -> None:
    text = SEALED.decode()
    assert text.startswith('{\n  "manifest": {\n')
    assert '"requested_by": "Jürgen"' in text
    assert json.loads(text)["signature"]["signer"] == TRUSTED


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, mask: int) -> None:
    data = bytearray(SEALED)
    data[position] ^= mask
    with pytest.raises(ManifestError):
        unseal(bytes(data), TRUSTED)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 40))
def test_cut_added_and_repeated_bytes_are_refused(position: int, count: int) -> None:
    forms = (
        SEALED[:position],
        SEALED[:position] + SEALED[position + count :],
        SEALED + SEALED[:count],
        SEALED + b"\n",
        b" " + SEALED,
        SEALED[:position] + b" " + SEALED[position:],
    )
    for data in forms:
        with pytest.raises(ManifestError):
            unseal(data, TRUSTED)


def test_an_edit_is_told_as_such() -> None:
    edited = SEALED.replace(b'"revision_min": 1000', b'"revision_min": 1001')
    with pytest.raises(ManifestError, match="changed after it was signed: it names the key that is trusted here"):
        unseal(edited, TRUSTED)


@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "NaN", "1" * 5000])
def test_numbers_and_texts_that_cannot_be_written_are_refused(value: str) -> None:
    edited = SEALED.replace(b'"revision_min": 1000', f'"revision_min": {value}'.encode())
    with pytest.raises(ManifestError):
        unseal(edited, TRUSTED)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ManifestError, match="twice"):
        unseal(SEALED.replace(b'"kind"', b'"id": "x", "kind"'), TRUSTED)


def test_a_forger_is_foreign_whoever_is_trusted() -> None:
    forged = seal(to_json(sample_manifest(reason="forged")), OTHER)
    for trusted in (TRUSTED, None):
        assert unseal(forged, trusted).trust == "foreign"
    assert unseal(forged, TRUSTED).signer == public_key_text(OTHER)


def test_a_forger_cannot_name_the_trusted_signer() -> None:
    forged = json.loads(seal(to_json(sample_manifest(reason="forged")), OTHER))
    forged["signature"]["signer"] = TRUSTED
    with pytest.raises(ManifestError, match="did not sign"):
        unseal(json.dumps(forged, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n", TRUSTED)


def test_without_signature_it_is_unsigned() -> None:
    found = unseal(json.dumps({"manifest": {"a": 1}}).encode(), TRUSTED)
    assert (found.payload, found.trust, found.signer) == ({"a": 1}, "unsigned", "")


def test_nobody_trusted_means_nothing_is_signed() -> None:
    assert unseal(SEALED, None).trust == "foreign"


def test_a_mark_is_no_manifest_even_when_dressed_as_one() -> None:
    mark = seal({"id": "x"}, KEY, "mark")
    assert unseal(mark, TRUSTED, "mark").trust == "signed"
    for data in (mark, mark.replace(b'"mark"', b'"manifest"')):
        with pytest.raises(ManifestError):
            unseal(data, TRUSTED, "manifest")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"manifest": 3}'])
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        unseal(data, TRUSTED)


def test_the_first_backup_makes_a_private_key_and_later_ones_use_it(tmp_path: Path) -> None:
    cluster = sample_cluster(tmp_path / "state")
    assert trusted_key(cluster) is None
    key = ensure_signing_key(cluster)
    path = tmp_path / "state" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert public_key_text(ensure_signing_key(cluster)) == public_key_text(key) == trusted_key(cluster)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    cluster = sample_cluster(tmp_path / "state")
    ensure_signing_key(cluster)
    (tmp_path / "state" / KEY_FILE).chmod(0o640)
    with pytest.raises(PkiError, match="too open"):
        ensure_signing_key(cluster)


def test_a_key_by_reference_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING", key_pem(KEY.private, None).decode())
    cluster = sample_cluster(tmp_path, private_key=SecretRef("env", "SIGNING"))
    assert public_key_text(ensure_signing_key(cluster)) == TRUSTED == trusted_key(cluster)
    assert not (tmp_path / KEY_FILE).exists()
    monkeypatch.delenv("SIGNING")
    assert trusted_key(cluster) is None
    with pytest.raises(InputError, match="is not set"):
        ensure_signing_key(cluster)


def test_a_key_other_than_the_pinned_one_is_refused_before_it_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNING", key_pem(OTHER.private, None).decode())
    cluster = sample_cluster(tmp_path, private_key=SecretRef("env", "SIGNING"), public_key=TRUSTED)
    assert trusted_key(cluster) == TRUSTED
    with pytest.raises(InputError, match="pins another"):
        ensure_signing_key(cluster)


def test_with_a_pin_no_new_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its private key is not at"):
        ensure_signing_key(sample_cluster(tmp_path / "state", public_key=TRUSTED))
    assert not (tmp_path / "state" / KEY_FILE).exists()


def test_keys_that_cannot_sign_are_refused_without_being_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = key_pem(ec.generate_private_key(ec.SECP256R1()), None).decode()
    locked = key_pem(KEY.private, b"secret").decode()
    cluster = sample_cluster(tmp_path, private_key=SecretRef("env", "SIGNING"))
    for text in (wrong, locked, wrong[:60], "hunter2"):
        monkeypatch.setenv("SIGNING", text)
        with pytest.raises(InputError, match="env:SIGNING holds no Ed25519 private key") as caught:
            ensure_signing_key(cluster)
        assert caught.value.__cause__ is None
        assert not any(line and line in str(caught.value) for line in text.splitlines())


def test_a_signing_key_does_not_show_itself() -> None:
    assert repr(KEY) == str(KEY) == "SigningKey()"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
