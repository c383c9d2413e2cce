"""A place for drills that does not fit."""

from __future__ import annotations

from tasks.cluster.checked import Checked


def check_drill(checked: Checked) -> None:
    """Note a member's machine as the place for drills, and a login for where there is none."""
    drill, place = checked.model.drill, checked.cluster.drill_place
    if drill.machine == "local" and drill.ssh.model_fields_set:
        checked.note(("drill", "ssh"), "nobody logs in where the flow runs", "leave ssh out, or say `machine: ADDRESS`")
    for _, host in checked.hosts if place else ():
        if drill.machine == host.name or (place and place.host.ssh.address in (host.address, host.ssh.address)):
            checked.note(
                ("drill", "machine"),
                f"that is {host.name}, a member's machine",
                "a drill would take disk and memory from it, and prove nothing for the day when it is gone",
            )
