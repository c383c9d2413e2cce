"""The acts of the demo about backups: make one, see it, damage it, see the damage told."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

from deployments.demo.acts import expect
from deployments.demo.stage import Stage
from deployments.snapshots_list import run_list
from deployments.snapshots_verify import run_verify
from tasks.reporting.human import size


def back_up(stage: Stage) -> str:
    """snapshot-backup, into a directory."""
    stage.screen.say(
        "The cluster file names a store for snapshots, here a directory; a bucket on S3 is one more line. What goes "
        "there can be encrypted; here it is signed, so that nobody can slip a false one in."
    )
    stage.screen.command(f"snapshot-backup {stage.file}")
    result = stage.run("snapshot_backup", reason="the demo")
    stage.screen.raw(_near(stage, result.as_text()), indent="   ")
    expect(result.exit_code == 0, "the backup failed")
    stage.snapshot = result.backup.manifest.id
    return f"a snapshot with all {stage.keys} keys, read from a follower while clients could go on"


def show_catalog(stage: Stage) -> str:
    """Open what was stored, and list it."""
    stage.screen.say(
        "That the store holds the bytes was checked. Better is to open them: decompressed, checked page by page, and "
        "compared with the hash over all keys that the member gave."
    )
    _verify(stage, expected=0)
    stage.screen.command(f"snapshots list {stage.file}")
    code, said = _said(
        lambda: run_list(
            str(stage.file),
            as_json=False,
            store="",
            since="",
            before="",
            verified=False,
            pinned=False,
            kind=None,
        )
    )
    stage.screen.raw(_near(stage, said), indent="   ")
    expect(code == 0 and stage.snapshot in said and "opened" in said, "the snapshot is not in the catalog as opened")
    return "the catalog says when it was made, how large it is, and that it was opened and found good"


def flip_a_byte(stage: Stage) -> str:
    """What a failing disk does, or a hand that should not be there."""
    (data,) = (path for path in (stage.root / "backups").rglob("snapshot.db*") if path.is_file())
    at = data.stat().st_size // 2
    _flip(data, at)
    stage.screen.say(f"One bit of the stored snapshot is flipped: byte {at} of {size(data.stat().st_size)} in {data}")
    said = _verify(stage, expected=1)
    expect("changed" in said, "the refusal does not say that the bytes were changed")
    _flip(data, at)
    stage.screen.say("The bit is flipped back, and the snapshot is verified once more:")
    _verify(stage, expected=0)
    return "a single changed bit is found and refused, long before anyone needs the snapshot at 3 a.m."


def _near(stage: Stage, text: str) -> str:
    """Paths as seen from the demo's directory, so that tables fit."""
    return text.replace(f"{stage.root}/", "./")


def _verify(stage: Stage, expected: int) -> str:
    stage.screen.command(f"snapshots verify {stage.file} {stage.snapshot}")
    code, said = _said(
        lambda: run_verify(
            str(stage.file), [stage.snapshot], level="opened", store="", scratch=stage.root, as_json=False
        )
    )
    stage.screen.say(said, indent="   ", fg="yellow" if code else None)
    expect(code == expected, f"snapshots verify ended with exit code {code} instead of {expected}")
    return said


def _said(command: Callable[[], int]) -> tuple[int, str]:
    """What a command of the product prints, and its exit code."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = command()
    return code, out.getvalue().rstrip()


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
