"""How we start Prefect's server: what a restart and a busy database ask for."""

from __future__ import annotations

_ON_SQLITE = "from deployments.sqlite import begin_at_once, close_what_fails; begin_at_once(); close_what_fails(); "
#: Python's text of ``prefect server start``; the words from ``server`` on follow.
SERVER = f"{_ON_SQLITE}from prefect.cli import app; app()"
#: The same without a CLI above it, as Prefect starts its own; uvicorn's options follow.
BARE_SERVER = f"{_ON_SQLITE}import uvicorn; uvicorn.main()"
#: And those.
FACTORY = ("--factory", "prefect.server.api.server:create_app", "--lifespan", "on")

#: Environment variables of a server that outlives its runs; also in docs/units/prefect-server.service.
SERVER_SETTINGS = {
    # Who holds a place in a concurrency limit lies in memory otherwise: after a restart no run can renew its place,
    # and Prefect cancels those that try (seen with 3.8.8); places of runs that end meanwhile stay taken.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # While the database is busy events are kept, up to 50,000; otherwise dropped after five attempts.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_MAX_FLUSH_RETRIES": "10000",
}

#: And of any server of ours: the same for less work; in the unit, too.
CHEAPER = {
    # Prefect writes each state of each task in a transaction of its own. Those of a second together cost its process
    # half as much in a run of 40 tasks, and SQLite is locked that much less. They are seen up to a second later.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1.0",
    # Time zones from Python's package tzdata: Prefect lists them all whenever it reads a schedule, from the system's
    # directory in 3 ms, from the package in 0.2 ms.
    "PYTHONTZPATH": "",
}
