"""Snapshots: capture, proof, encryption, stores, catalog, retention."""
