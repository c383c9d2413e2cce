"""Serves disaster-restore as a deployment, as a worker's machine does."""

from __future__ import annotations

from prefect.types.entrypoint import EntrypointType

from flows.disaster_restore import disaster_restore

if __name__ == "__main__":
    disaster_restore.serve(name="restore", entrypoint_type=EntrypointType.MODULE_PATH, print_starting_message=False)
