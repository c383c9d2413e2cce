"""What this machine remembers of a directory store: that it was used.

A disk that is not mounted looks like an empty directory. Without a memory its list would say "no snapshots", and the
next backup would go to the disk below it. So what was put there once is written down in the state directory, beside the
keys; from then on the cluster's directory in the store has to be there.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tasks.errors import PkiError, StoreMissing
from tasks.pki.store import write


class Memory:
    """Of one store on this machine.

    Args:
        file: Where it is written down; a memory without one remembers nothing.
        store: The store's name.
        root: The cluster's directory in the store.
    """

    def __init__(self, file: Path | None, store: str, root: Path) -> None:
        self._file, self._store, self._root = file, store, root
        self._kept = False

    @property
    def used(self) -> bool:
        """Whether something was put into that very directory."""
        if self._file is None:
            return False
        with suppress(OSError, UnicodeDecodeError):
            return self._kept or self._file.read_text().strip() == str(self._root)
        return False

    def keep(self) -> None:
        """Something was put there. Never raises: a state directory that can't be written to is told elsewhere."""
        if self._file is None or self.used or not self._file.parent.parent.is_dir():
            return
        with suppress(OSError, PkiError):
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            write(self._file, f"{self._root}\n".encode(), 0o600)
            self._kept = True

    def demand(self) -> None:
        """Go on unless it was used and is not there.

        Raises:
            StoreMissing: It is not.
        """
        if self.used and not self._root.is_dir():
            raise StoreMissing(
                f"store {self._store}: {self._root} is not there, but snapshots were put there before",
                state="nothing was read or written",
                remedy="mount the file system that holds it; if that is lost for good and this is a new one, "
                f"say so with: mkdir -m 0700 {self._root}",
            )
