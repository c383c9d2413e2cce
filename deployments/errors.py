"""Errors as the command line prints them."""

from __future__ import annotations

import json
import os
import tempfile
import traceback

import click

from tasks.errors import EtcdFlowsError, Several


def error_json(error: EtcdFlowsError) -> dict[str, str | None]:
    """One error for ``--json``; keys are stable."""
    return {"message": error.message, "host": error.host, "state": error.state, "remedy": error.remedy}


def show_error(error: EtcdFlowsError, *, as_json: bool) -> int:
    """Print an error for people (stderr) or machines (stdout); return its exit code."""
    if as_json:
        each = error.errors if isinstance(error, Several) else (error,)
        record = {"ok": False, "error": type(error).__name__, "errors": [error_json(one) for one in each]}
        click.echo(json.dumps(record, indent=2))
    else:
        click.echo(f"{click.style('failed', fg='red', bold=True)}: {error}", err=True)
    return error.exit_code


def show_unexpected(error: Exception, *, as_json: bool) -> int:
    """Print what nobody has foreseen (a full disk, a broken installation, a bug of ours); returns the exit code.

    The traceback goes into a file, for whoever looks into it; on the terminal it would hide what counts.
    """
    if isinstance(error, EtcdFlowsError):
        return show_error(error, as_json=as_json)
    if isinstance(error, OSError) and error.strerror:
        said = f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}, on this machine"
        hint = "mend that"
    elif str(error).startswith("Failed to reach API"):  # Prefect's client, a RuntimeError
        said = "Prefect's server went away while this run was at work"
        hint = "see after that server (without one the command line makes do with a temporary one)"
    else:
        said, hint = f"an error that should not happen, {type(error).__name__}: {error}", "report it, with that file"
    told = EtcdFlowsError(
        said,
        state="what was begun may be half done, nothing is taken back; where it happened is in " + _kept(error),
        remedy=f"{hint}; then run the same command again: it carries on from what it finds",
    )
    try:
        return show_error(told, as_json=as_json)
    except OSError:  # standard output is what is broken
        return show_error(told, as_json=False)


def _kept(error: Exception) -> str:
    """A private file with the traceback, or words for why there is none."""
    text = "".join(traceback.format_exception(error))
    try:
        number, path = tempfile.mkstemp(prefix="etcd-flows-error-", suffix=".txt")
        with os.fdopen(number, "w", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return f"no file, since none could be written in {tempfile.gettempdir()} (TMPDIR says where)"
    return path
