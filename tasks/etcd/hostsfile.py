"""The marked block of member names in ``/etc/hosts``: the same on every host, so that all resolve members alike."""

from __future__ import annotations

from tasks.cluster.spec import Cluster, is_ip


def _begin(cluster: str) -> str:
    return f"# BEGIN etcd-flows {cluster}"


def _end(cluster: str) -> str:
    return f"# END etcd-flows {cluster}"


def hosts_block(cluster: Cluster) -> str:
    """The block with its markers. Members whose address is a name are left out: that name is resolved elsewhere."""
    members = [f"{host.address}\t{host.name}" for host in cluster.hosts if is_ip(host.address)]
    return "\n".join([_begin(cluster.name), *members, _end(cluster.name)]) + "\n"


def merge_hosts(existing: str, block: str) -> str:
    """``existing`` with that block in it once: in the place of the one of the same cluster, else at the end.

    Args:
        existing: The whole file; lines outside the block stay as they are.
        block: As :func:`hosts_block` makes it.
    """
    name = block.partition("\n")[0].removeprefix(_begin(""))
    before, after, found = _split(existing, name)
    if not found and before and not before.endswith("\n"):
        before += "\n"
    return before + block + after


def remove_hosts(existing: str, cluster: str) -> str:
    """``existing`` without the block of that cluster; unchanged when there is none."""
    before, after, _ = _split(existing, cluster)
    return before + after


def _split(text: str, cluster: str) -> tuple[str, str, bool]:
    """What stands before and after the first block; any further one is dropped.

    A begin marker without its end marker is dropped alone: what follows it may be somebody else's.
    """
    lines = text.splitlines(keepends=True)
    sides: tuple[list[str], list[str]] = ([], [])
    found = False
    position = 0
    while position < len(lines):
        if lines[position].strip() == _begin(cluster):
            position, found = _block_end(lines, position, cluster) + 1, True
        elif lines[position].strip() == _end(cluster):
            position += 1
        else:
            sides[found].append(lines[position])
            position += 1
    return "".join(sides[0]), "".join(sides[1]), found


def _block_end(lines: list[str], start: int, cluster: str) -> int:
    for position in range(start + 1, len(lines)):
        line = lines[position].strip()
        if line == _end(cluster):
            return position
        if line.startswith("# BEGIN "):
            break
    return start
