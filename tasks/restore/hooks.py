"""Hooks: commands of the cluster file's for the clients, around a restore (kube-apiservers stop before, start after).

When each is run is told by the hosts alone, so that a run that was cut off needs no memory: those before the stop as
long as any member may still serve the old data; those after the proof until the restore's record is put away. Both may
thus run more than once, never not at all. What failed after the proof is written down on the members
(:func:`tasks.etcd.restored.hooks_path`), since the record is put away all the same: the cluster stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tasks.cluster.secrets import resolve
from tasks.cluster.spec import Cluster, Hook, RestoreSettings
from tasks.errors import CommandFailed
from tasks.etcd.restored import hooks_path
from tasks.hosts.facts import HostFacts
from tasks.hosts.shell import Shell
from tasks.plan import Phase, Step
from tasks.reporting.human import visible
from tasks.reporting.progress import emit
from tasks.restore.actions import RunHook

BEFORE = "run the hooks before the stop"
AFTER = "run the hooks after the proof"
_SHOWN = 40  # lines of what a hook prints

# A hook is written as people write sh: with variables that may be unset, and files that others may read. It ends at the
# first command that fails, and finds nothing on its standard input.
_PRELUDE = "set +u\numask 022\nexec </dev/null\n"


def without(hooks: RestoreSettings, gone: Collection[str]) -> RestoreSettings:
    """The hooks that do not run on hosts which are gone for good; the others are said."""
    before = tuple(hook for hook in hooks.before_stop if hook.host.name not in gone)
    after = tuple(hook for hook in hooks.after_proof if hook.host.name not in gone)
    for hook in (*hooks.before_stop, *hooks.after_proof):
        if hook not in (*before, *after):
            emit("warning", f"hook {hook.name} is left out, since {hook.host.name} is declared dead")
    return RestoreSettings(before, after)


def before_stop(cluster: Cluster) -> Phase:
    """All hooks before the stop, in their order."""
    return Phase(BEFORE, tuple(_step(hook, RunHook(hook, "before")) for hook in cluster.restore.before_stop))


def after_proof(cluster: Cluster, only: Iterable[str] | None = None) -> Phase:
    """The hooks after the proof, in their order.

    Args:
        only: Names; all if None.
    """
    hooks = [hook for hook in cluster.restore.after_proof if only is None or hook.name in only]
    return Phase(AFTER, tuple(_step(hook, RunHook(hook, "after")) for hook in hooks))


def _step(hook: Hook, action: RunHook) -> Step:
    first, *more = hook.command.splitlines()
    text = f"{first} ..." if more else first
    return Step(hook.host.name, f"hook-{hook.name}", f"run `{text}` (at most {hook.timeout:g} s)", action)


def demand_secrets(cluster: Cluster) -> None:
    """See that all secrets of all hooks are to be had, while nothing has been touched.

    Raises:
        InputError: One is not.
    """
    for hook in (*cluster.restore.before_stop, *cluster.restore.after_proof):
        for _, ref in hook.secrets:
            resolve(ref)


def run_hook(shell: Shell, hook: Hook) -> None:
    """Run one hook and show what it prints.

    Raises:
        CommandFailed: It ended with an exit code other than 0.
        TransientHostError: It did not end in time, or the machine can't be reached.
    """
    secrets = {name: resolve(ref).reveal() for name, ref in hook.secrets}
    script, what = f"{_PRELUDE}{hook.command}\n", f"hook {hook.name}"
    out = shell.run(script, timeout=hook.timeout, env=secrets, check=False, what=what)
    lines = _lines(f"{out.text}\n{out.stderr}", secrets.values())
    for line in lines[-_SHOWN:]:
        emit("info", f"  {hook.name}: {line}", host=hook.host.name)
    if not out.ok:
        said = f": {' | '.join(lines[-3:])}" if lines else ", and printed nothing"
        raise CommandFailed(
            f"{what} ended with exit code {out.code}{said}",
            host=hook.host.name,
            remedy="correct the hook or what it works on, then run it again",
        )


def _lines(text: str, secrets: Iterable[str]) -> list[str]:
    for secret in secrets:
        text = text.replace(secret, "(hidden)")
    return [visible(line)[:500] for line in text.splitlines() if line.strip()]


def pending_text(restore: str, names: Iterable[str]) -> bytes:
    """What is written down of hooks that failed."""
    return f"{' '.join([restore, *names])}\n".encode()


def pending(cluster: Cluster, facts: Mapping[str, HostFacts], restore: str) -> tuple[str, ...]:
    """Names of the hooks that are still to be run after a restore that has ended."""
    for host in cluster.hosts:
        words = (facts[host.name].file(hooks_path(host)).content or b"").decode(errors="replace").split()
        if words[:1] == [restore]:
            return tuple(words[1:])
    return ()
