"""The ``restore`` section, resolved."""

from __future__ import annotations

from collections.abc import Callable

from tasks.cluster.model_hosts import HostSection, SshSection
from tasks.cluster.model_restore import HookSection, RestoreSection
from tasks.cluster.spec import Hook, Host, RestoreSettings
from tasks.cluster.surroundings import Surroundings


def build_restore(
    model: RestoreSection, hosts: tuple[HostSection, ...], around: Surroundings, resolve: Callable[[HostSection], Host]
) -> RestoreSettings:
    """From the file's keys to complete settings.

    Args:
        hosts: The members' hosts.
        resolve: Makes a host of its keys, as for members.
    """

    def hook(one: HookSection) -> Hook:
        secrets = tuple((name, ref) for name, text in sorted(one.secrets.items()) if (ref := around.secret(text)))
        return Hook(one.name, resolve(_place(one, hosts)), one.command, one.timeout, secrets)

    return RestoreSettings(tuple(map(hook, model.before_stop)), tuple(map(hook, model.after_proof)))


def _place(hook: HookSection, hosts: tuple[HostSection, ...]) -> HostSection:
    """The machine as if it were a host of the file, so that its login settings are made up like theirs."""
    known = next((host for host in hosts if host.name == hook.machine), None)
    if known is not None:
        own = {name: getattr(hook.ssh, name) for name in hook.ssh.model_fields_set}
        return known.model_copy(update={"ssh": known.ssh.model_copy(update=own)}) if own else known
    if hook.machine == "local":
        here = SshSection(sudo="none")
        return HostSection.model_construct(name="local", address="127.0.0.1", ssh=here, connection="local")
    # Not validated as a member: its name is an address, which no member is called by.
    return HostSection.model_construct(name=hook.machine, address=hook.machine, ssh=hook.ssh)
