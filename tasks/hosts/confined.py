"""What a service of ours may not do, as lines of its systemd unit. Pure."""

from __future__ import annotations


def confined(writable: str = "", *, home: bool = True, private_tmp: bool = True, code_in_memory: bool = False) -> str:
    """No privilege is left, and nothing can be written to but what is named.

    Args:
        writable: Paths, as words of a unit; none if empty.
        home: Whether homes of users are hidden.
        private_tmp: Whether it has a ``/tmp`` of its own.
        code_in_memory: Whether it may make code while it runs.
    """
    paths = f"ReadWritePaths={writable}\n" if writable else ""
    return f"""CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
{paths}ProtectHome={_word(home)}
PrivateTmp={_word(private_tmp)}
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute={_word(not code_in_memory)}
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @setuid @keyring
SystemCallErrorNumber=EPERM
"""


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
