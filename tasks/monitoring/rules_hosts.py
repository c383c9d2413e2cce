"""Alerts about certificates and clocks, of which only the flows know, and that somebody still looks. Pure."""

from __future__ import annotations

from tasks.cluster.spec import Cluster
from tasks.monitoring.rule import Rule, Severity, own
from tasks.preflight.machine import CLOCK_WARNING

_DAY = 86400.0
#: check-cluster runs every hour (deployments.declared); of three runs one may fail and one be late.
_STALE = 3 * 3600


def host_rules(cluster: Cluster) -> tuple[Rule, ...]:
    """What is wrong with certificates and clocks, and when nobody looks any more."""
    name, pki = cluster.name, cluster.pki
    return (
        # As check-cluster has it, and in proportion where certificates are made for less than a year.
        _ends(name, min(30.0, pki.leaf_days / 3), "warning"),
        _ends(name, min(7.0, pki.leaf_days / 10), "critical"),
        _ca_ends(name, min(180.0, pki.ca_days / 5), "warning"),
        _ca_ends(name, min(30.0, pki.ca_days / 20), "critical"),
        _clock(name),
        *_silence(name),
    )


def _ends(name: str, days: float, severity: Severity) -> Rule:
    ends = own(name, "certificate_not_after_timestamp_seconds", 'certificate!="ca"')
    return Rule(
        "EtcdCertificateEnds",
        f"{ends} - time() < {days * _DAY:.0f}",
        "5m",
        severity,
        "certificate {{ $labels.certificate }} of {{ $labels.member }} of " + name + " ends soon",
        "{{ $labels.certificate }}.crt of {{ $labels.member }} ends in {{ $value | humanizeDuration }}; without a "
        "valid one the member is cut off from whoever it proves itself to.",
    )


def _ca_ends(name: str, days: float, severity: Severity) -> Rule:
    ca = own(name, "certificate_not_after_timestamp_seconds", 'certificate="ca"')
    return Rule(
        "EtcdCaEnds",
        f"min by (cluster) ({ca}) - time() < {days * _DAY:.0f}",
        "5m",
        severity,
        f"the CA of {name} ends soon",
        f"The CA's certificate of {name} ends in {{{{ $value | humanizeDuration }}}}; then no member and no client "
        "trusts another, all at once.",
    )


def _clock(name: str) -> Rule:
    offset = own(name, "clock_offset_seconds")
    middle = f"on (cluster) group_left () quantile by (cluster) (0.5, {offset})"
    return Rule(
        "EtcdClockDrift",
        f"abs({offset} - {middle}) - {own(name, 'clock_error_seconds')} > {CLOCK_WARNING:g}",
        "0m",
        "warning",
        "the clock of {{ $labels.member }} of " + name + " is off",
        "The clock of {{ $labels.member }} is at least {{ $value | humanizeDuration }} off the middle of all members' "
        "clocks. Leases, certificates and logs go by it.",
    )


def _silence(name: str) -> tuple[Rule, Rule]:
    written = own(name, "written_timestamp_seconds")
    stores, members = own(name, "store_read_timestamp_seconds"), own(name, "member_seen_timestamp_seconds")
    return (
        Rule(
            "EtcdFlowsSilent",
            f"absent({written})",
            "2h",
            "warning",
            f"nothing is known of the backups of {name}",
            f"Prometheus gets nothing from the flows about {name}: no alert about its backups, drills, certificates or "
            "clocks can fire, whatever happens.",
        ),
        Rule(
            "EtcdFlowsStale",
            f"time() - {stores} > {_STALE} or time() - {members} > {_STALE}",
            "5m",
            "warning",
            f"what is known of {name} is old",
            "{{ with $labels.store }}Store {{ . }}{{ end }}{{ with $labels.member }}The host of {{ . }}{{ end }} was "
            "last looked at {{ $value | humanizeDuration }} ago; check-cluster does it every hour.",
        ),
    )
