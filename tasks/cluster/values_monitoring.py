"""The kinds of values that the ``monitoring`` section has, each with what to write instead."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from tasks.cluster.values import Wrong, address


def runbooks(value: str) -> str:
    """A path or URL, to which ``#`` and an alert's name are added."""
    if not re.fullmatch(r"[^\s#{}\x00-\x1f]{1,500}", value):
        raise Wrong("this is neither a path nor a URL without #", "https://wiki.example.com/etcd-alerts")
    return value


def program_version(value: str) -> str:
    """Three numbers."""
    if not re.fullmatch(r"v?\d{1,4}\.\d{1,4}\.\d{1,4}(-rc\.\d{1,3})?", value):
        raise Wrong("this is not a version", "three numbers: 3.5.3")
    return value.removeprefix("v")


def prom_duration(value: str) -> str:
    """A duration as Prometheus and Alertmanager read it, of one unit."""
    if not re.fullmatch(r"[1-9]\d{0,8}(ms|s|m|h|d|w|y)", value):
        raise Wrong("this is not a duration", "15s, 5m, 4h or 30d")
    return value


def receiver_name(value: str) -> str:
    """A receiver's name: part of file names and labels on the monitoring host."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", value):
        raise Wrong("a receiver's name has 1 to 40 lower-case letters, digits and '-'", "oncall")
    return value


def hook_url(value: str) -> str:
    """An address without a login in it."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s#]{0,1000})?", value):
        raise Wrong("an address is http(s)://HOST/PATH, without a login", "https://alerts.example.com/; or secret_url")
    return value


def mail_address(value: str) -> str:
    """``user@host``, without a name before it."""
    if not re.fullmatch(r"[^\s@<>,;\"]{1,64}@[A-Za-z0-9.-]{1,255}", value):
        raise Wrong("this is not a mail address", "oncall@example.com")
    return value


def mail_server(value: str) -> str:
    """``host:port``."""
    if not re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\]):\d{1,5}", value):
        raise Wrong("a mail server has its port", "mail.example.com:587")
    return value


def channel(value: str) -> str:
    """A channel or user."""
    if not re.fullmatch(r"[#@]?[^\s#@]{1,80}", value):
        raise Wrong("this is neither a channel nor a user", "#etcd")
    return value


ProgramVersion = Annotated[str, AfterValidator(program_version)]
PromDuration = Annotated[str, AfterValidator(prom_duration)]
ReceiverName = Annotated[str, AfterValidator(receiver_name)]
HookUrl = Annotated[str, AfterValidator(hook_url)]
MailAddress = Annotated[str, AfterValidator(mail_address)]
MailServer = Annotated[str, AfterValidator(mail_server)]
Channel = Annotated[str, AfterValidator(channel)]


def endpoint(value: str) -> str:
    """``HOST:PORT``, an IPv6 address in brackets."""
    host, colon, port = value.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise Wrong("this is not HOST:PORT", "10.0.0.5:9100")
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    found = address(inner)
    return f"[{found}]:{int(port)}" if ":" in found else f"{found}:{int(port)}"


Runbooks = Annotated[str, AfterValidator(runbooks)]
Endpoint = Annotated[str, AfterValidator(endpoint)]
