"""Grafana's dashboards as code; ``make dashboards`` writes what is shipped. Not part of the wheel."""
