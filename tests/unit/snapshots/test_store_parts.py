"""Sizes of parts, keys, and what it costs to have a store at hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import StoreError
from tasks.snapshots.stores.keys import check_key
from tasks.snapshots.stores.s3_parts import LEAST, MAX_PARTS, MIB, MOST, part_bytes

TIB = 1 << 40


@settings(max_examples=30)
@given(st.one_of(st.none(), st.integers(0, 5 * TIB)))
def test_parts_suffice_whatever_was_hinted(hint: int | None) -> None:
    sizes = [part_bytes(number, hint) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= max(TIB, (hint or 0) * 1.25)
    assert min(sizes) >= 5 * MIB
    assert max(sizes) <= MOST
    assert sizes == sorted(sizes)


@given(st.integers(0, 5 * TIB))
def test_parts_are_of_one_size_as_far_as_the_hint_goes(hint: int) -> None:
    """Some servers insist on it, and memory is taken by the size of a part."""
    size = part_bytes(1, hint)
    needed = max(1, -(-hint // size))
    assert part_bytes(min(needed, MAX_PARTS), hint) == size
    assert size == LEAST or size * 9000 <= hint * 1.25 + 9000 * MIB


def test_a_usual_database_needs_little_memory() -> None:
    assert part_bytes(1, None) == part_bytes(1, 8 << 30) == LEAST == 5 * MIB


@given(st.text())
def test_a_key_is_taken_as_it_is_or_refused(key: str) -> None:
    try:
        taken = check_key(key)
    except StoreError:
        return
    assert taken == key
    assert not set(key.split("/")) & {"", ".", ".."}
    assert len(key.encode()) <= 700


@pytest.mark.parametrize("module", ["tasks.snapshots.stores.open", "deployments.cli"])
def test_boto3_is_not_imported_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; assert not {{'boto3', 'botocore'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
