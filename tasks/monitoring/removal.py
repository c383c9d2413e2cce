"""Taking programs off a monitoring host, with all that is ours of them. Pure.

What they have gathered is kept, and so are Grafana's secrets, without which nobody could open its database again; users
and packages stay, packages' own units masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.monitoring import grafana_host
from tasks.monitoring.actions import RemovePrograms
from tasks.monitoring.look import WatchFacts, unit_of
from tasks.monitoring.packages import PACKAGES, PackageFact
from tasks.monitoring.programs import GRAFANA, INSTALLED, NOTES, Program, note
from tasks.monitoring.sharing import read_part
from tasks.monitoring.wanted import MAINS, SERVERS, ours
from tasks.monitoring.web import OPEN_NAMES, SECRET_NAMES
from tasks.plan import Step

_NONE = PackageFact()


def unwanted(parts: Mapping[str, str]) -> tuple[Program, ...]:
    """Programs that some clusters have and none of these wants.

    Args:
        parts: Of all clusters on the host, by path.
    """
    wanted = {name for path, text in parts.items() for name in read_part(path, text)["settings"]}
    return () if GRAFANA.product.name in wanted else (GRAFANA,)


def remove_steps(host: str, facts: WatchFacts, programs: Iterable[Program], more: tuple[str, ...] = ()) -> list[Step]:
    """Stop and remove those that are there and ours; none if nothing is.

    Args:
        more: Files that go with them.
    """
    mine = [one for one in programs if ours(facts.host.file(one.unit_file)) or unit_of(facts, one).marker]
    if not mine and not more:
        return []
    paths = [path for one in mine for path in _configuration(one)]
    folders = [folder for one in mine for folder in _folders(one)]
    homes = tuple(one.home("*") for one in mine)
    paths = [path for path in paths if path not in MAINS or ours(facts.host.file(path))]
    theirs = {package.unit for package in PACKAGES.values() if facts.packages.get(package.name, _NONE).installed}
    units, mask = tuple(one.unit for one in mine), tuple(one.unit for one in mine if one.unit in theirs)
    action = RemovePrograms(units, (*paths, *more), mask, homes, (*folders, INSTALLED, NOTES))
    titles = ", ".join(one.title for one in mine) or "what is left of it"
    why = "no cluster is watched here any more" if more or len(mine) > 1 else "no cluster here wants it any more"
    return [Step(host, "remove", f"stop and remove {titles}; what they have gathered stays", action, why)]


def _configuration(one: Program) -> tuple[str, ...]:
    """Files of a program that are ours, those of clusters left out."""
    if one is GRAFANA:
        return (*grafana_host.OWN_FILES, *grafana_host.WEB_FILES, one.unit_file, note(one))
    mains = [path for path in MAINS if path.startswith(f"{one.etc}/")]
    web = [f"{one.etc}/{name}" for name in (*OPEN_NAMES, *SECRET_NAMES)] if one in SERVERS else []
    return (*mains, *web, one.unit_file, note(one))


def _folders(one: Program) -> tuple[str, ...]:
    """Directories that go if nothing is left in them, the innermost first."""
    if one is GRAFANA:
        return (*grafana_host.OWN_FOLDERS, one.etc)
    return (one.clusters, one.etc) if one in SERVERS else ()
