"""The kinds of values that the ``monitoring`` section has, each with what to write instead."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from tasks.cluster.values import Wrong


def runbooks(value: str) -> str:
    """A path or URL, to which ``#`` and an alert's name are added."""
    if not re.fullmatch(r"[^\s#{}\x00-\x1f]{1,500}", value):
        raise Wrong("this is neither a path nor a URL without #", "https://wiki.example.com/etcd-alerts")
    return value


Runbooks = Annotated[str, AfterValidator(runbooks)]
