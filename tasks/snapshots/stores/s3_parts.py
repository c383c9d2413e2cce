"""How large the parts of an upload are (S3 API: 10,000 parts at most, each of 5 MiB to 5 GiB but for the last)."""

from __future__ import annotations

MIB = 1 << 20
LEAST = 5 * MIB
MOST = 5 << 30
MAX_PARTS = 10_000
_MARGIN = 1.25  # a hint may be wrong by so much before parts grow in mid-upload
_EVEN = 9_000  # as many parts are of one size, which some servers insist on; what is beyond the hint grows


def part_bytes(number: int, hint: int | None) -> int:
    """The size of a part.

    Args:
        number: Of the part, from 1 on.
        hint: Expected bytes of the whole; None if not known.

    Returns:
        Bytes. 10,000 parts hold what was hinted and a quarter more, and 1 TiB in any case.
    """
    wanted = int((hint or 0) * _MARGIN) // _EVEN
    even = max(LEAST, -(-wanted // MIB) * MIB)
    if number <= _EVEN:
        return min(even, MOST)
    return min(even << ((number - _EVEN + 99) // 100), MOST)
