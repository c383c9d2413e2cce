"""Reaching a host: connection pool, shell, files, facts, services."""
