"""The ``drill`` section's place, resolved."""

from __future__ import annotations

from collections.abc import Callable

from tasks.cluster.model_drill import DrillSection
from tasks.cluster.model_hosts import HostSection
from tasks.cluster.spec import DrillPlace, Host


def build_drill(model: DrillSection, resolve: Callable[[HostSection], Host]) -> DrillPlace | None:
    """The machine for drills; None for the one that the flow runs on.

    Args:
        resolve: Makes a host of its keys, as for members.
    """
    if model.machine == "local":
        return None
    ssh = model.ssh
    if "sudo" not in ssh.model_fields_set:
        ssh = ssh.model_copy(update={"sudo": "none"})
    # Not validated as a member: its name is an address, which no member is called by.
    host = HostSection.model_construct(name=model.machine, address=model.machine, ssh=ssh)
    return DrillPlace(resolve(host), model.directory)
