"""What locks a snapshot (public keys, or a passphrase) and what opens it again; neither shows itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyrage

from tasks.cluster.secrets import Secret, resolve
from tasks.cluster.spec import SecretRef, SnapshotSettings
from tasks.errors import InputError

_SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - what every secret key begins with
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # bech32 (BIP 173)
_UNTOUCHED = "nothing was touched"


@dataclass(frozen=True)
class Locks:
    """What encrypts: recipients or a passphrase, never both (age: an scrypt stanza stands alone).

    Args:
        recipients: Public keys, ``age1...``; whoever encrypts can't read it afterwards.
        passphrase: Alternative to those.
    """

    recipients: tuple[str, ...] = ()
    passphrase: Secret | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if bool(self.recipients) == (self.passphrase is not None):
            raise InputError(
                "encryption needs either recipients or a passphrase",
                state=_UNTOUCHED,
                remedy="set one of them under snapshots.encryption",
            )
        for recipient in self.recipients:
            try:
                pyrage.x25519.Recipient.from_str(recipient)
            except pyrage.RecipientError:
                raise InputError(
                    f"{recipient} is not a public key of age (X25519): it was mistyped or cut",
                    state=_UNTOUCHED,
                    remedy="`age-keygen -y FILE` prints the right one",
                ) from None


@dataclass(frozen=True)
class Keys:
    """What decrypts.

    Args:
        identity: Text with one or several lines ``AGE-SECRET-KEY-1...``, as ``age-keygen`` writes it.
        passphrase: For what was encrypted with one.
    """

    identity: Secret | None = field(default=None, repr=False)
    passphrase: Secret | None = field(default=None, repr=False)

    @property
    def public(self) -> tuple[str, ...]:
        """The public halves of the secret keys: what is encrypted for one of them can be opened."""
        return tuple(str(identity.to_public()) for identity in self._identities)

    @property
    def raw(self) -> tuple[bytes, ...]:
        """The secret keys as 32 bytes each; to be handed straight to what unwraps with them."""
        return tuple(bech32_bytes(str(identity)) for identity in self._identities)

    @property
    def _identities(self) -> tuple[pyrage.x25519.Identity, ...]:
        if self.identity is None:
            return ()
        lines = [line.strip() for line in self.identity.reveal().splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        try:
            if not wanted or not all(line.startswith(_SECRET_PREFIX) for line in wanted):
                raise pyrage.IdentityError
            return tuple(pyrage.x25519.Identity.from_str(line) for line in wanted)
        except pyrage.IdentityError:
            # Not chained: nobody knows what that text says of the key.
            pass
        raise InputError(
            "the identity is not a secret key of age (X25519)",
            state=_UNTOUCHED,
            remedy=f"give a file as age-keygen writes it, with a line {_SECRET_PREFIX}...",
        )


def locks_of(snapshots: SnapshotSettings) -> Locks | None:
    """What new snapshots are encrypted with; None if they are not.

    Raises:
        InputError: The passphrase can't be had, or a recipient is none.
    """
    if not snapshots.encrypted:
        return None
    return Locks(snapshots.recipients, _resolved(snapshots.passphrase))


def keys_of(snapshots: SnapshotSettings) -> Keys | None:
    """What can be opened with what the cluster file names; None if it names no key.

    Raises:
        InputError: Identity or passphrase can't be had, or the identity is none.
    """
    if snapshots.identity is None and snapshots.passphrase is None:
        return None
    keys = Keys(_resolved(snapshots.identity), _resolved(snapshots.passphrase))
    _ = keys.public  # an identity that is none is refused here, not in the middle of a restore
    return keys


def bech32_bytes(text: str) -> bytes:
    """The 32 bytes in a key's text; its checksum is pyrage's business."""
    data = text.lower().rpartition("1")[2][:-6]
    number = 0
    for character in data:
        number = number << 5 | _ALPHABET.index(character)
    return (number >> (len(data) * 5 - 256)).to_bytes(32, "big")


def _resolved(ref: SecretRef | None) -> Secret | None:
    return resolve(ref) if ref else None
