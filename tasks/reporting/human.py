"""Sizes, times and counts as people read them."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in binary units: ``size(1536) == '1.5 KiB'``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter: ``duration(3700) == '1 h 1 min'``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = []
    for label, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count} {label}")
    return " ".join(parts[:2])


def age(seconds: float) -> str:
    """How old something is, no finer than people care: ``age(7201) == '2 h'``."""
    if seconds < 0:
        return "in the future"
    if seconds < 60:
        return f"{seconds:.0f} s"
    fine = 3600 if seconds >= 86400 else 60
    return duration(seconds // fine * fine)


def visible(text: str) -> str:
    """Text of unknown origin for a terminal: what is no printable character can't move the cursor or change colours."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``plural(2, 'host') == '2 hosts'``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
