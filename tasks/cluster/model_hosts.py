"""The cluster file's keys for hosts and how to log in to them."""

from __future__ import annotations

from typing import Literal

from tasks.cluster.model_base import Section, entry, section
from tasks.cluster.values import (
    Address,
    FreeText,
    HostKey,
    HostPath,
    IpAddress,
    LoginUser,
    MemberName,
    Port,
    SecretReference,
    WorkerPath,
)


class JumpSection(Section):
    """A bastion."""

    address: Address = entry(..., "IP address or name of the jump host.", "bastion.example.com")
    port: Port = entry(22, "Its SSH port; 22 because sshd listens there unless someone changed it.", 2222)
    user: LoginUser | None = entry(
        None,
        "User to log in with there. Default: the user of the host behind it, as most sites use one account.",
        "ops",
    )
    key: WorkerPath | None = entry(
        None,
        "Private key file for the jump host. Default: the agent and the keys in ~/.ssh, as ssh does.",
        "~/.ssh/ops",
    )
    password: SecretReference | None = entry(
        None, "Password by reference. Default: none, since keys are safer.", "env:BASTION_PASSWORD"
    )
    host_key: HostKey | None = entry(
        None,
        "Pinned public key of the jump host. Default: known_hosts is asked, as for the hosts.",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtEpErAyEFzCoXrEqNCBQB0rGRL0BLtDQfBqTEw3WUi",
    )
    jump: JumpSection | None = entry(
        None,
        "A further jump host before this one. Default: none, it is reached directly.",
        {"address": "outer.example.com"},
    )


class SshSection(Section):
    """How to log in."""

    address: Address | None = entry(
        None,
        "Where sshd listens. Default: the host's `address`. Give it per host when logins use another network.",
        "192.0.2.11",
    )
    user: LoginUser = entry(
        "root",
        "User to log in with. root by default because installing needs it; others become root with sudo.",
        "ubuntu",
    )
    port: Port = entry(22, "SSH port; 22 because sshd listens there unless someone changed it.", 2222)
    key: WorkerPath | None = entry(
        None, "Private key file. Default: the agent and the keys in ~/.ssh, as ssh itself does.", "~/.ssh/id_ed25519"
    )
    key_passphrase: SecretReference | None = entry(
        None,
        "Passphrase of `key`, by reference. Default: none; keys with passphrases are best left to the agent.",
        "env:SSH_KEY_PASSPHRASE",
    )
    agent: bool = entry(
        True, "Whether the ssh-agent and the keys in ~/.ssh may be used; true because that is what ssh does.", False
    )
    password: SecretReference | None = entry(
        None, "Login password, by reference. Default: none, since keys are safer.", "file:/run/secrets/ssh-password"
    )
    sudo: Literal["auto", "none"] = entry(
        "auto", "How to become root: `auto` uses sudo unless the user is root, `none` never. auto fits both.", "none"
    )
    sudo_password: SecretReference | None = entry(
        None, "Password for sudo, by reference. Default: none, for NOPASSWD rules.", "env:SUDO_PASSWORD"
    )
    host_keys: Literal["known_hosts", "accept-new"] = entry(
        "known_hosts",
        "What to do with a host key nobody has seen: `known_hosts` refuses, `accept-new` trusts the first use and "
        "remembers it. Refusing is the default, since the first use is when an attacker would step in.",
        "accept-new",
    )
    known_hosts: WorkerPath = entry(
        "~/.ssh/known_hosts",
        "File of known host keys; the one that ssh uses, so that what ssh trusts is trusted.",
        "./known_hosts",
    )
    host_key: HostKey | None = entry(
        None,
        "Pinned public host key; then known_hosts is not looked at. Default: none, known_hosts is enough.",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtEpErAyEFzCoXrEqNCBQB0rGRL0BLtDQfBqTEw3WUi",
    )
    connect_timeout: float = entry(
        10.0,
        "Seconds to wait for a connection; 10 is enough for a slow VPN and short enough at 3 a.m.",
        30,
        gt=0,
        le=600,
    )
    jump: JumpSection | None = entry(
        None,
        "Jump host (bastion) to go through. Default: none, hosts are reached directly.",
        {"address": "bastion.example.com", "user": "ops"},
    )


class HostSection(Section):
    """One host and the member on it."""

    name: MemberName = entry(..., "Member name, unique in the cluster; also the certificates' CN.", "etcd-01")
    address: Address = entry(
        ...,
        "IP address or DNS name that clients reach the member at; IP addresses depend on nothing else.",
        "10.0.0.11",
    )
    peer_address: Address | None = entry(
        None,
        "Address for the other members. Default: `address`; give another to keep peer traffic on its own network.",
        "172.16.0.11",
    )
    listen_address: IpAddress | None = entry(
        None,
        "IP address to bind client traffic to. Default: `address` if that is an IP address, so a host with several "
        "networks listens only where told; all addresses (0.0.0.0, or :: in an IPv6 cluster) if it is a name.",
        "0.0.0.0",  # noqa: S104 - an example
    )
    peer_listen_address: IpAddress | None = entry(
        None, "IP address to bind peer traffic to. Default: as `listen_address`, from `peer_address`.", "172.16.0.11"
    )
    client_port: Port = entry(2379, "Port for clients; 2379 is etcd's registered port (IANA).", 12379)
    peer_port: Port = entry(2380, "Port for the other members; 2380 is etcd's registered port (IANA).", 12380)
    metrics_port: Port = entry(
        2381, "Port for metrics and health; 2381 as kubeadm uses it, so that dashboards fit.", 12381
    )
    metrics_address: IpAddress | None = entry(
        None,
        "IP address of this host, of any network card, on which metrics are shown besides loopback, once there is a "
        "`monitoring` section. Default: `listen_address`, else `address`, whichever is an IP address of this host.",
        "10.9.0.11",
    )
    labels: dict[str, FreeText] = entry(
        {},
        "Free labels such as site and rack, shown in reports. Default: none; nothing depends on them.",
        {"site": "ams", "rack": "r12"},
    )
    connection: Literal["ssh", "local"] = entry(
        "ssh",
        "`local` means the machine that the flow runs on. ssh by default, since members belong on several machines.",
        "local",
    )
    service: Literal["systemd", "supervisor"] = entry(
        "systemd",
        "Who keeps etcd running. systemd by default: it restarts, orders and confines. `supervisor` needs no root.",
        "supervisor",
    )
    prefix: HostPath | None = entry(
        None,
        "Directory put before every path on this host, for several members on one machine. Default: none.",
        "/srv/member-1",
    )
    data_dir: HostPath | None = entry(
        None,
        "Data directory of this member alone. Default: `etcd.data_dir`; members alike are easier to run.",
        "/mnt/nvme/etcd",
    )
    ssh: SshSection = section(
        SshSection,
        "Login settings of this host, key by key over the top-level `ssh`.",
        {"address": "192.0.2.11", "port": 2222},
    )
