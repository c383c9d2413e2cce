from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from tasks.cluster.spec import SecretRef
from tasks.errors import PkiError
from tasks.pki import signing, store
from tasks.pki.authority import Authority, adopt_authority, create_authority, load_authority
from tasks.pki.certificates import pem_of
from tasks.pki.leaves import LeafSpec, leaves_for
from tests.unit.pki.factory import NOW, make_cluster, make_pki

LEAF = LeafSpec("server", "etcd-01", None, ("server", "client"), ("etcd-01", "10.0.0.11", "::1"), "ec-p256", 365)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def openssl(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)


def test_created_ca_is_private_and_loads_again(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = create_authority(make_pki(tmp_path / "a" / "state"), "prod-a", NOW)
    finally:
        os.umask(old)
    state = tmp_path / "a" / "state"
    assert (mode(state), mode(state / "ca.key"), mode(state / "ca.crt")) == (0o700, 0o600, 0o644)
    assert sorted(path.name for path in state.iterdir()) == [".lock", "ca.crt", "ca.key"]
    loaded = load_authority(make_pki(state), now=NOW)
    assert loaded is not None
    assert loaded.cert == made.cert
    assert made.cert.subject.rfc4514_string() == "CN=etcd,O=prod-a"
    assert made.cert.not_valid_after_utc == NOW + timedelta(days=3650)
    constraints = made.cert.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = made.cert.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value == signing.key_usage(key_cert_sign=True, crl_sign=True)
    assert create_authority(make_pki(state), "prod-a", NOW).cert == made.cert  # never replaced


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert load_authority(make_pki(tmp_path / "none"), now=NOW) is None
    tmp_path.chmod(0o700)
    assert load_authority(make_pki(tmp_path), now=NOW) is None


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048"])
def test_openssl_accepts_every_leaf_for_its_purposes_only(tmp_path: Path, key_type: str) -> None:
    cluster = make_cluster(tmp_path / "s", key_type=key_type, extra_sans=("vip_1.example.org",))
    authority = create_authority(cluster.pki, cluster.name, NOW)
    now = ["-attime", str(int(NOW.timestamp()))]
    for leaf in leaves_for(cluster.hosts[0], cluster):
        path = tmp_path / "leaf.crt"
        path.write_bytes(authority.issue(leaf, NOW).cert_pem)
        for purpose, usage in (("sslclient", "client"), ("sslserver", "server")):
            words = ["verify", "-x509_strict", "-purpose", purpose, *now, "-CAfile", tmp_path / "s" / "ca.crt", path]
            result = openssl(*words)
            assert (result.returncode == 0) == (usage in leaf.usages), (leaf.name, purpose, result.stderr)
        text = openssl("x509", "-in", path, "-noout", "-text").stdout
        assert "CA:FALSE" in text
        assert "Authority Key Identifier" in text
        assert ("Key Encipherment" in text) == key_type.startswith("rsa")
        assert ("DNS:vip_1.example.org" in text) == ("server" in leaf.usages)
    verify = ["verify", *now, "-CAfile", tmp_path / "s" / "ca.crt"]
    path.write_bytes(authority.issue(LEAF, NOW).cert_pem)
    assert openssl(*verify, "-verify_ip", "10.0.0.11", path).returncode == 0
    assert openssl(*verify, "-verify_ip", "10.0.0.12", path).returncode != 0
    assert openssl(*verify, "-verify_hostname", "etcd-01", path).returncode == 0


def test_leaf_shape(tmp_path: Path) -> None:
    authority = create_authority(make_pki(tmp_path / "s"), "prod-a", NOW)
    made = authority.issue(LEAF, NOW + timedelta(days=1))
    leaf = x509.load_pem_x509_certificate(made.cert_pem)
    assert made.key_pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert load_pem_private_key(made.key_pem, None).public_key() == leaf.public_key()
    assert leaf.not_valid_before_utc == NOW + timedelta(days=1) - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == NOW + timedelta(days=366)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value == signing.key_usage(digital_signature=True)
    eku = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(eku) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    ski = authority.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == ski
    serials = {x509.load_pem_x509_certificate(authority.issue(LEAF, NOW).cert_pem).serial_number for _ in range(8)}
    assert len(serials) == 8
    assert max(serial.bit_length() for serial in serials) > 140


def test_leaf_stays_within_the_life_of_the_ca(tmp_path: Path) -> None:
    authority = create_authority(make_pki(tmp_path / "s", ca_days=30), "prod-a", NOW)
    leaf = x509.load_pem_x509_certificate(authority.issue(LEAF, NOW - timedelta(minutes=3)).cert_pem)
    assert leaf.not_valid_before_utc == authority.cert.not_valid_before_utc
    assert leaf.not_valid_after_utc == authority.cert.not_valid_after_utc
    with pytest.raises(PkiError, match="expired"):
        authority.issue(LEAF, NOW + timedelta(days=30))
    with pytest.raises(PkiError, match="expired"):
        load_authority(make_pki(tmp_path / "s"), now=NOW + timedelta(days=31))


@pytest.mark.parametrize(
    ("name", "too_open"), [("ca.key", 0o640), ("ca.key", 0o604), (".", 0o750), (".", 0o701), ("ca.key", 0o620)]
)
def test_too_open_is_refused(tmp_path: Path, name: str, too_open: int) -> None:
    settings = make_pki(tmp_path / "s")
    create_authority(settings, "prod-a", NOW)
    (tmp_path / "s" / name).chmod(too_open)
    with pytest.raises(PkiError, match="too open") as caught:
        load_authority(settings, now=NOW)
    assert "chmod 0" in str(caught.value.remedy)
    with pytest.raises(PkiError, match="too open"):
        create_authority(settings, "prod-a", NOW)


def test_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CA_PASS", "correct horse")
    settings = make_pki(tmp_path / "s", passphrase=SecretRef("env", "CA_PASS"))
    made = create_authority(settings, "prod-a", NOW)
    assert (tmp_path / "s" / "ca.key").read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    loaded = load_authority(settings, now=NOW)
    assert loaded is not None
    assert loaded.key_pem() == made.key_pem()
    with pytest.raises(PkiError, match="no passphrase is configured"):
        load_authority(make_pki(tmp_path / "s"), now=NOW)
    monkeypatch.setenv("CA_PASS", "battery staple")
    with pytest.raises(PkiError, match="wrong passphrase") as caught:
        load_authority(settings, now=NOW)
    assert "battery" not in str(caught.value)
    assert caught.value.__suppress_context__  # the library's own text is not shown
    without = load_authority(settings, now=NOW, with_key=False)
    assert without is not None
    assert without.key is None


def test_plain_key_is_refused_where_a_passphrase_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CA_PASS", "correct horse")
    create_authority(make_pki(tmp_path / "s"), "prod-a", NOW)
    with pytest.raises(PkiError, match="not encrypted"):
        load_authority(make_pki(tmp_path / "s", passphrase=SecretRef("env", "CA_PASS")), now=NOW)


def test_certificate_alone_checks_but_does_not_issue(tmp_path: Path) -> None:
    create_authority(make_pki(tmp_path / "s"), "prod-a", NOW)
    (tmp_path / "s" / "ca.key").unlink()
    loaded = load_authority(make_pki(tmp_path / "s"), now=NOW)
    assert loaded is not None
    with pytest.raises(PkiError, match="not in the state directory"):
        loaded.issue(LEAF, NOW)


def test_import_of_wrong_material(tmp_path: Path) -> None:
    first, second = make_pki(tmp_path / "a"), make_pki(tmp_path / "b")
    made = create_authority(first, "a", NOW)
    create_authority(second, "b", NOW)
    (tmp_path / "a" / "ca.crt").write_bytes((tmp_path / "b" / "ca.crt").read_bytes())
    with pytest.raises(PkiError, match="is not the key of"):
        load_authority(first, now=NOW)
    (tmp_path / "a" / "ca.crt").write_bytes(made.issue(LEAF, NOW).cert_pem)
    with pytest.raises(PkiError, match="not a CA certificate"):
        load_authority(first, now=NOW)
    (tmp_path / "a" / "ca.crt").write_bytes(b"nonsense")
    with pytest.raises(PkiError, match="no readable PEM"):
        load_authority(first, now=NOW)
    (tmp_path / "a" / "ca.crt").unlink()
    with pytest.raises(PkiError, match="no certificate beside it"):
        load_authority(first, now=NOW)
    with pytest.raises(PkiError, match="no certificate beside it"):
        create_authority(first, "a", NOW)
    (tmp_path / "b" / "ca.key").write_bytes(b"nonsense")
    with pytest.raises(PkiError, match="not a readable PEM"):
        load_authority(second, now=NOW)


def test_import_made_by_openssl(tmp_path: Path) -> None:
    state = tmp_path / "s"
    state.mkdir(mode=0o700)
    for words in (["rsa:2048"], ["ed25519"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]):
        out = ["-keyout", state / "ca.key", "-out", state / "ca.crt"]
        made = openssl("req", "-x509", "-newkey", *words, "-nodes", "-subj", "/CN=mine", "-days", "9999", *out)
        assert made.returncode == 0, made.stderr
        (state / "ca.key").chmod(0o600)
        authority = load_authority(make_pki(state))
        assert authority is not None
        (tmp_path / "leaf.crt").write_bytes(authority.issue(LEAF, authority.cert.not_valid_before_utc).cert_pem)
        verified = openssl("verify", "-CAfile", state / "ca.crt", tmp_path / "leaf.crt")
        assert verified.returncode == 0, (words, verified.stderr)


def test_no_key_in_repr_or_pickle(tmp_path: Path) -> None:
    authority = create_authority(make_pki(tmp_path / "s"), "prod-a", NOW)
    made = authority.issue(LEAF, NOW)
    assert "PRIVATE" not in repr(made)
    assert "PrivateKey" not in repr(authority)
    with pytest.raises(TypeError):
        pickle.dumps(authority)


@pytest.mark.parametrize("cut", range(1, 9))
def test_killed_while_making_then_run_again(tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rename, link and unlink is a kill point; afterwards one CA comes out, and a published key stays."""
    settings, left = make_pki(tmp_path / "s"), cut

    class Killed(BaseException):
        pass

    def counting(name: str) -> None:
        real = getattr(Path, name)

        def call(self: Path, *args: object, **keywords: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return real(self, *args, **keywords)

        monkeypatch.setattr(Path, name, call)

    for name in ("rename", "hardlink_to", "unlink"):
        counting(name)
    try:
        create_authority(settings, "prod-a", NOW)
    except Killed:
        pass
    else:
        pytest.fail("fewer kill points than thought")
    monkeypatch.undo()
    key = tmp_path / "s" / "ca.key"
    published = key.read_bytes() if key.exists() else None
    made = create_authority(settings, "prod-a", NOW)
    loaded = load_authority(settings, now=NOW)
    assert loaded is not None
    assert loaded.cert == made.cert
    assert published in (None, key.read_bytes())


def test_foreign_leftover_is_not_taken_for_a_half_made_ca(tmp_path: Path) -> None:
    create_authority(make_pki(tmp_path / "a"), "a", NOW)
    create_authority(make_pki(tmp_path / "b"), "b", NOW)
    (tmp_path / "a" / "ca.crt").unlink()
    (tmp_path / "a" / "ca.crt.new").write_bytes((tmp_path / "b" / "ca.crt").read_bytes())
    with pytest.raises(PkiError, match="is not the key of"):
        create_authority(make_pki(tmp_path / "a"), "a", NOW)
    assert not (tmp_path / "a" / "ca.crt").exists()


def _race(directory: str, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    made = create_authority(make_pki(Path(directory)), "prod-a", NOW)
    results.put((made.fingerprint, made.key_pem()))  # type: ignore[attr-defined]


def test_two_processes_at_once_get_one_ca(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        barrier, results = context.Barrier(4), context.Queue()
        directory = str(tmp_path / str(attempt))
        racers = [context.Process(target=_race, args=(directory, barrier, results)) for _ in range(4)]
        for racer in racers:
            racer.start()
        got = {results.get(timeout=30) for _ in racers}
        for racer in racers:
            racer.join()
        assert len(got) == 1
        loaded = load_authority(make_pki(Path(directory)), now=NOW)
        assert loaded is not None
        assert {(loaded.fingerprint, loaded.key_pem())} == got


def test_adopt(tmp_path: Path) -> None:
    theirs = create_authority(make_pki(tmp_path / "a"), "a", NOW)
    settings = make_pki(tmp_path / "b")
    adopted = adopt_authority(settings, theirs.cert_pem, NOW)
    assert (adopted.cert, adopted.key) == (theirs.cert, None)
    assert adopt_authority(settings, theirs.cert_pem, NOW).cert == theirs.cert
    other = create_authority(make_pki(tmp_path / "c"), "c", NOW)
    with pytest.raises(PkiError, match="another CA"):
        adopt_authority(settings, other.cert_pem, NOW)
    with pytest.raises(PkiError, match="can't serve"):
        adopt_authority(make_pki(tmp_path / "d"), theirs.issue(LEAF, NOW).cert_pem, NOW)


def test_adopted_bundle_signs_with_its_first(tmp_path: Path) -> None:
    one = create_authority(make_pki(tmp_path / "a"), "a", NOW)
    two = create_authority(make_pki(tmp_path / "b"), "b", NOW)
    adopted = adopt_authority(make_pki(tmp_path / "c"), one.cert_pem + two.cert_pem, NOW)
    assert adopted.cert == one.cert
    assert adopted.trusted == (one.cert, two.cert)


def test_ca_without_key_identifier_still_issues() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = signing.subject("old", None)
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=9))
    cert = signing.sign(unsigned.add_extension(x509.BasicConstraints(True, None), critical=True), key)
    issued = Authority(cert, pem_of(cert), key).issue(LEAF, NOW)
    made = x509.load_pem_x509_certificate(issued.cert_pem)
    made.verify_directly_issued_by(cert)


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    store.write(target, b"old", 0o600)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PkiError, match="No space left"):
        store.write(target, b"new", 0o600)
    assert target.read_bytes() == b"old"
