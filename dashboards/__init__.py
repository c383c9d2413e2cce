"""Grafana's dashboards as code; ``python -m dashboards.generate`` writes what is shipped. Not part of the wheel."""
