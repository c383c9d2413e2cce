"""Benchmarks run the product as the end-to-end tests do."""

from tests.e2e.conftest import make_product, prefect_server

__all__ = ["make_product", "prefect_server"]
