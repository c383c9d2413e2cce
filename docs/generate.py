"""The parts of docs/ that are made from the code: ``make docs`` writes them, a test compares.

What people write in a page of a flow stands above :data:`MARK` and is kept; below it stands what the command line and
the flow's signature say. ``cluster-file.md`` is made of the models alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from deployments.automations import ALWAYS
from deployments.automations import PREFIX as OURS
from deployments.cli import main
from deployments.declared import OFFERED, Offered
from deployments.lost_runs import Lost, TakenUp, lost_runs
from deployments.registry import flow_object
from flows.alive import LOST
from flows.events import EVENTS, PREFIX
from tasks.cluster.load import parse_cluster
from tasks.cluster.schema import json_schema, reference_rows
from tasks.cluster.spec import Cluster
from tasks.reporting.human import duration
from tasks.reporting.tables import as_markdown, table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MARK = "<!-- from here on made by `make docs` -->"
#: JSON Schema's types as people call them.
_TYPES = {"string": "text", "integer": "number", "number": "number", "boolean": "yes or no", "array": "list"}


def pages() -> dict[Path, str]:
    """All pages that are made, whole, by their place."""
    flows = {HERE / "flows" / f"{each.flow}.md": _flow_page(each) for each in OFFERED}
    made = {HERE / "cluster-file.md": cluster_file_page(), HERE / "events.md": _events_page()}
    return {**made, HERE / "flows" / "README.md": _index(), **flows}


def cluster_file_page() -> str:
    """Every key of the cluster file, a table for each section."""
    schema = json_schema()
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for key, default, example, meaning in reference_rows(schema):
        name = key.strip("`")
        section, _, last = name.rpartition(".")
        sections.setdefault(section, []).append((f"`{last}`", default, example, meaning))
    lines = [
        "# The cluster file",
        "",
        "Every key, made from the models that read the file. What is required says so; everything else has a",
        "default, and its meaning says why that one. `[]` is a list. A host's own `ssh` has the keys of the top-level",
        "one, both lists of hooks have the same keys, and a `jump` may have a `jump`. `${NAME}` in a value is taken",
        "from the environment. Secrets are only referred to: `env:NAME`, `file:PATH`, `block:NAME` (a Secret block).",
        "",
        "`etcd-flows validate FILE` says all that is wrong at once; `etcd-flows schema` prints the JSON Schema for",
        "your editor; `deployments/clusters/full.yaml` shows all keys in place.",
    ]
    for section, rows in sections.items():
        lines += ["", f"## `{section}`" if section else "## Top level", ""]
        lines += ["| key | default | example | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _events_page() -> str:
    rows = [
        (
            f"`{PREFIX}{name}`",
            told.when,
            ", ".join(told.payload) + ("; or `why`, the error that ended the run" if told.why else ""),
        )
        for name, told in EVENTS.items()
    ]
    told_of = [(name, f"`{event}`", subject) for name, event, subject, _ in ALWAYS]
    lost = [(each.name.removeprefix(OURS), _lost_when(each), each.message) for each in lost_runs(OURS)]
    parts = [
        (HERE / "events.md").read_text().partition(MARK)[0].rstrip(),
        MARK,
        "## The events",
        as_markdown_rows(("event", "when", "payload"), rows),
        f"## The automations\n\nTheir names begin with `{OURS.strip()}`. There is one `backup missed` for each cluster "
        "whose backups have a schedule.",
        as_markdown_rows(
            ("automation", "reacts to", "says"),
            [*told_of, ("backup missed", "no `etcd-flows.snapshot.completed` in time", "No etcd backup of ..."), *lost],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _lost_when(each: Lost | TakenUp) -> str:
    if isinstance(each, TakenUp):
        return f"`prefect.flow-run.{LOST}` of a run that may be taken up again"
    return f"nothing heard of a run for {duration(each.within.total_seconds())}"


def _index() -> str:
    rows = [(f"[{each.flow}]({each.flow}.md)", _first(flow_object(each.entrypoint).description)) for each in OFFERED]
    head = (
        "# The flows\n\nEach is a command, a deployment with a form in Prefect's UI, and can be started by the API.\n\n"
    )
    return f"{head}{as_markdown_rows(('flow', 'does'), rows)}\n"


def _flow_page(offered: Offered) -> str:
    place = HERE / "flows" / f"{offered.flow}.md"
    written = place.read_text().partition(MARK)[0].rstrip() if place.exists() else ""
    flow = flow_object(offered.entrypoint)
    written = written or f"# {offered.flow}\n\n{_first(flow.description)}"
    parts = [written, MARK, *_command_line(offered.flow), *_deployment(offered, flow.parameters.model_dump())]
    return "\n\n".join(parts) + "\n"


def _command_line(name: str) -> Iterator[str]:
    command = main.commands[name]
    context = click.Context(command, info_name=f"etcd-flows {name}")
    yield "## On the command line"
    yield f"```console\n$ {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield _joined(command.help or "")
    rows = []
    for option in command.params:
        if isinstance(option, click.Option):
            names = ", ".join(option.opts) + (f" {option.make_metavar(context)}" if not option.is_flag else "")
            default = f" Default: `{option.default}`." if option.show_default and option.default else ""
            rows.append((f"`{names}`", f"{option.help or ''}{default}"))
    yield as_markdown_rows(("option", "meaning"), rows)


def _deployment(offered: Offered, schema: Mapping[str, Any]) -> Iterator[str]:
    yield "## As a deployment"
    cron = offered.schedule(_example())
    when = f"by schedule (`{cron}`, UTC, for the cluster file `full.yaml`) and on demand" if cron else "on demand"
    met = "is dropped" if offered.collision == "CANCEL_NEW" else "waits"
    yield (
        f"`{offered.flow}/CLUSTER`, {when}. A second run of it {met}. Parameters, for the form in the UI, "
        f"`etcd-flows trigger {offered.flow} CLUSTER -p NAME=VALUE`, and the API:"
    )
    required = schema.get("required", ())
    rows = []
    for name, value in schema["properties"].items():
        default = "required" if name in required else f"`{value.get('default')!r}`"
        rows.append((f"`{name}`", _kind(value), default, value.get("description") or ""))
    yield as_markdown_rows(("parameter", "kind", "default", "meaning"), rows)


def _example() -> Cluster:
    file = ROOT / "deployments/clusters/full.yaml"
    return parse_cluster(file.read_bytes(), file, {"HOME": "/root"}).cluster


def _kind(value: Mapping[str, Any]) -> str:
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    kinds = [each.get("type", "") for each in value.get("anyOf", [value])]
    return " or ".join(_TYPES[kind] for kind in kinds if kind in _TYPES)


def _first(text: str | None) -> str:
    return (text or "").partition("\n")[0]


def _joined(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def as_markdown_rows(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; what Python's docstrings mark as code is code."""
    return as_markdown(table(headings, [[cell.replace("``", "`") for cell in row] for row in rows]))


def write() -> None:
    """Write all pages."""
    for place, text in pages().items():
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)


if __name__ == "__main__":
    write()
