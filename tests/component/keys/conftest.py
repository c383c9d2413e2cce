"""Real members for the tests of keys."""

from __future__ import annotations

from tests.component.etcd.conftest import make_members

__all__ = ["make_members"]
