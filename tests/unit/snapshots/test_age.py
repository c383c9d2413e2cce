from __future__ import annotations

import io
import os
import pickle
from functools import cache

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cluster.secrets import Secret
from tasks.cluster.spec import SecretRef
from tasks.errors import DecryptionError, InputError
from tasks.snapshots import age_header
from tasks.snapshots.age_header import VERSION
from tasks.snapshots.age_keys import Keys, Locks, bech32_bytes, keys_of, locks_of
from tasks.snapshots.age_payload import CHUNK, SEALED, Encryptor, decrypt
from tests.unit.snapshots.samples import sample_settings

IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
OTHER = pyrage.x25519.Identity.generate()
PASSPHRASE = Secret("correct horse battery staple")
LOCKS = Locks((RECIPIENT,))
KEYS = Keys(Secret(IDENTITY))
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 16 * CHUNK, 16 * CHUNK + 1, 17 * CHUNK, 33 * CHUNK + 7)


def plain(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def encrypted(data: bytes, locks: Locks = LOCKS, piece: int = 100_000) -> bytes:
    encryptor = Encryptor(locks)
    parts = [encryptor.update(data[at : at + piece]) for at in range(0, len(data), piece)]
    return b"".join(parts) + encryptor.finish()


def decrypted(data: bytes, keys: Keys | None = KEYS, piece: int = 70_000) -> bytes:
    return b"".join(decrypt(iter([data[at : at + piece] for at in range(0, len(data), piece)]), keys))


@cache
def sample() -> bytes:
    return encrypted(plain(3 * CHUNK + 1000))


@cache
def head() -> int:
    """Length of the sample's head with the nonce."""
    return sample().index(b"\n", sample().index(b"\n---") + 1) + 1 + 16


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_opens_ours_and_we_open_its(size: int) -> None:
    data = plain(size)
    assert pyrage.decrypt(encrypted(data), [pyrage.x25519.Identity.from_str(IDENTITY)]) == data
    assert decrypted(pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(RECIPIENT)])) == data
    assert decrypted(encrypted(data)) == data


@given(st.integers(0, 3 * CHUNK), st.integers(1, 3 * CHUNK), st.integers(1, 3 * CHUNK))
@settings(max_examples=40)
def test_pieces_of_any_size_will_do(size: int, cut: int, other: int) -> None:
    cut, other = max(cut, size // 50 + 1), max(other, size // 50 + 1)
    assert decrypted(encrypted(plain(size), piece=cut), piece=other) == plain(size)


def test_passphrases_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, data = Keys(passphrase=PASSPHRASE), plain(CHUNK + 5)
    mine = encrypted(data, Locks(passphrase=PASSPHRASE))
    assert pyrage.passphrase.decrypt(mine, PASSPHRASE.reveal()) == data
    assert decrypted(mine, keys) == data
    # pyrage asks for as much work as takes a second here, which may be more than is taken from a stranger's file.
    monkeypatch.setattr(age_header, "SCRYPT_LOG_N_MAX", 22)
    assert decrypted(pyrage.passphrase.encrypt(data, PASSPHRASE.reveal()), keys) == data


def test_each_of_several_recipients_opens_it() -> None:
    data = encrypted(b"data", Locks((RECIPIENT, str(OTHER.to_public()))))
    assert decrypted(data) == decrypted(data, Keys(Secret(str(OTHER)))) == b"data"
    both = Keys(Secret(f"# created: today\n# public key: x\n{OTHER}\n\n{IDENTITY}\n"))
    assert decrypted(encrypted(b"old"), both) == b"old"
    assert both.public == (str(OTHER.to_public()), RECIPIENT)


def test_stanzas_of_other_kinds_beside_ours_are_passed_over() -> None:
    ssh = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    recipients = [pyrage.ssh.Recipient.from_str(ssh), pyrage.x25519.Recipient.from_str(RECIPIENT)]
    assert decrypted(pyrage.encrypt(b"data", recipients)) == b"data"
    with pytest.raises(DecryptionError, match=r"keys of another kind \(.*ssh-ed25519"):
        decrypted(pyrage.encrypt(b"data", recipients[:1]))


def test_every_file_has_its_own_key() -> None:
    assert encrypted(b"same")[: len(VERSION) + 100] != encrypted(b"same")[: len(VERSION) + 100]


def refused(data: bytes, keys: Keys | None = KEYS) -> str:
    with pytest.raises(DecryptionError) as caught:
        decrypted(data, keys)
    assert caught.value.remedy
    return caught.value.message


def test_a_wrong_key_is_told_as_such() -> None:
    assert "is none of those it was encrypted for" in refused(sample(), Keys(Secret(str(OTHER))))
    assert "no key to open it was given" in refused(sample(), None)
    assert "no secret key was given" in refused(sample(), Keys(passphrase=PASSPHRASE))
    locked = encrypted(b"data", Locks(passphrase=PASSPHRASE))
    assert "the passphrase is another one" in refused(locked, Keys(passphrase=Secret("guess")))
    assert "and none was given" in refused(locked)


@given(st.data(), st.integers(1, 255))
@settings(max_examples=150)
def test_any_changed_byte_is_refused(data: st.DataObject, mask: int) -> None:
    everywhere = st.integers(0, len(sample()) - 1)
    position = data.draw(st.one_of(st.integers(0, head() + 20), everywhere))
    changed = bytearray(sample())
    changed[position] ^= mask
    message = refused(bytes(changed))
    if position >= head():
        assert "the key is right, but" in message


def test_every_single_byte_of_the_head_counts() -> None:
    for position in range(head()):
        changed = bytearray(sample())
        changed[position] ^= 1
        refused(bytes(changed))


@given(st.data())
@settings(max_examples=100)
def test_what_was_cut_off_is_missed(data: st.DataObject) -> None:
    edges = st.sampled_from([head() + n * SEALED + more for n in range(4) for more in (-1, 0, 1, 16)])
    end = data.draw(st.one_of(edges, st.integers(0, len(sample()) - 1)))
    refused(sample()[:end])


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_a_cut_at_the_end_of_a_chunk_is_told_as_such(chunks: int) -> None:
    message = refused(sample()[: head() + chunks * SEALED])
    assert f"its end is missing: after {chunks * CHUNK:,} bytes" in message


def test_a_cut_at_the_edge_of_what_is_read_at_once_is_noticed() -> None:
    long = encrypted(plain(40 * CHUNK))
    for chunks in (15, 16, 17, 32):
        assert "its end is missing" in refused(long[: head() + chunks * SEALED])


def test_chunks_that_were_swapped_repeated_or_left_out_are_refused() -> None:
    start = head()
    first, second, third = (sample()[start + n * SEALED : start + (n + 1) * SEALED] for n in range(3))
    rest = sample()[start + 3 * SEALED :]
    for body in (second + first + third, first + first + second + third, first + third, first + second):
        message = refused(sample()[:start] + body + rest)
        assert "changed or moved" in message or "changed, or the end was cut" in message


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=60)
def test_added_bytes_are_refused(more: bytes) -> None:
    assert "the key is right, but" in refused(sample() + more)


def test_bytes_added_after_a_whole_last_chunk_are_told_as_such() -> None:
    full = encrypted(plain(2 * CHUNK))
    assert f"after its end, at {2 * CHUNK:,} of the plain text, bytes were added" in refused(full + b"x")
    assert "its end is missing" not in refused(full + bytes(16))


def test_the_body_of_another_file_does_not_fit() -> None:
    other = encrypted(plain(3 * CHUNK + 1000))
    refused(sample()[: head()] + other[head() :])


def test_what_only_a_forger_writes_is_refused() -> None:
    """Musts of the specification that no flipped bit reaches: an empty last chunk, a wrapped key of another length."""
    encryptor = Encryptor(LOCKS)
    start = encryptor.update(b"")
    empty_end = start + encryptor._seal(plain(CHUNK), last=False) + encryptor._seal(b"", last=True)
    assert "its end is missing" in refused(empty_end)
    long_key = bytes(24)
    stanza = age_header._for_recipient(long_key, bech32_bytes(RECIPIENT))
    head_text = VERSION + age_header._spelled(stanza) + b"---"
    mac = age_header._base64(age_header._mac(long_key, head_text))
    assert "its head was changed" in refused(head_text + b" " + mac + b"\n" + bytes(100))


def test_rubbish_is_refused() -> None:
    armored = io.BytesIO()
    pyrage.encrypt_io(io.BytesIO(b"data"), armored, [pyrage.x25519.Recipient.from_str(RECIPIENT)], armored=True)
    assert "text form (armor)" in refused(armored.getvalue())
    for data in (b"", b"a", b"age-encryption.org/v2\n", VERSION, VERSION + b"-> \n\n--- ", os.urandom(5000)):
        refused(data)
    refused(VERSION + b"-> X25519 a\n" * 5000)
    refused(VERSION + b"x" * 1_000_000)


def test_a_stranger_cannot_ask_for_endless_work() -> None:
    locked = encrypted(b"data", Locks(passphrase=PASSPHRASE))
    changed = locked.replace(b" 16\n", b" 30\n")
    assert "work factor 30" in refused(changed, Keys(passphrase=PASSPHRASE))


def test_keys_and_locks_do_not_show_themselves() -> None:
    keys, locks = Keys(Secret(IDENTITY), PASSPHRASE), Locks(passphrase=PASSPHRASE)
    for thing in (keys, locks, vars(keys), vars(locks)):
        assert IDENTITY not in repr(thing)
        assert PASSPHRASE.reveal() not in repr(thing)
    for held in (keys, locks):
        with pytest.raises(TypeError, match="never stored"):
            pickle.dumps(held)


@pytest.mark.parametrize("text", ["hunter2", IDENTITY[:-1], f"{IDENTITY}\nhunter2", "# only a comment", RECIPIENT])
def test_an_identity_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InputError, match="not a secret key of age") as caught:
        _ = Keys(Secret(text)).public
    shown = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert "hunter2" not in shown
    assert IDENTITY[:-1] not in shown


def test_locks_that_lock_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="either"):
        Locks()
    with pytest.raises(InputError, match="either"):
        Locks((RECIPIENT,), PASSPHRASE)
    with pytest.raises(InputError, match="mistyped"):
        Locks((RECIPIENT[:-1] + "q",))


def test_settings_become_locks_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGE_KEY", IDENTITY)
    monkeypatch.setenv("WORDS", PASSPHRASE.reveal())
    assert locks_of(sample_settings()) is None
    assert keys_of(sample_settings()) is None
    public = sample_settings(recipients=(RECIPIENT,))
    assert locks_of(public) == LOCKS
    assert keys_of(public) is None
    both = keys_of(sample_settings(recipients=(RECIPIENT,), identity=SecretRef("env", "AGE_KEY")))
    assert both is not None
    assert both.public == (RECIPIENT,)
    words = sample_settings(passphrase=SecretRef("env", "WORDS"))
    locks, keys = locks_of(words), keys_of(words)
    assert locks is not None
    assert decrypted(encrypted(b"data", locks), keys) == b"data"
    monkeypatch.setenv("AGE_KEY", "hunter2")
    with pytest.raises(InputError, match="not a secret key"):
        keys_of(sample_settings(identity=SecretRef("env", "AGE_KEY")))
