"""The acts of the demo. Each does one thing with the product, proves it, and returns the sentence that it proved."""

from __future__ import annotations

import http.client
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime

from deployments.demo import cluster, processes, release
from deployments.demo.stage import Stage
from tasks.cluster.load import load_cluster
from tasks.errors import EtcdFlowsError, Refused, TransientHostError
from tasks.pki.authority import load_authority
from tasks.pki.client import ensure_client
from tasks.plan import Plan
from tasks.reporting import plans, tables
from tasks.reporting.human import plural
from tasks.reporting.tables import Table

KEYS = 100  # written in one go
_PREFIX = b"demo/"
_PATIENCE = 30.0  # seconds for a write to go through while a leader is elected


def expect(fact: bool, otherwise: str) -> None:
    """Stop the demo where the product did not do what the story says.

    Raises:
        EtcdFlowsError: With that sentence.
    """
    if not fact:
        raise EtcdFlowsError(otherwise)


def get_ready(stage: Stage) -> str:
    """A release, a cluster file; Prefect's server starts meanwhile."""
    say = stage.screen
    say.say(f"Prefect's local server starts in the background ({stage.server.url}).")
    version = release.pack(release.programs(), stage.root / "release")
    say.say(f"etcd {version} is packed as a release directory with SHA256SUMS. This is the cluster file:")
    say.raw()
    stage.file.write_text(cluster.render(stage.root, version, cluster.free_ports()) + cluster.WATCHED)
    say.raw(stage.file.read_text().rstrip(), indent="    ")
    say.raw()
    say.command(f"validate {stage.file}")
    loaded = load_cluster(stage.file)
    for warning in loaded.warnings:
        say.warning(str(warning))
    say.say(f"{loaded.cluster.name}: good ({plural(len(loaded.cluster.hosts), 'member')})")
    say.raw()
    say.say(
        "Now Prefect's server has to be there. From nothing, that takes about 20 seconds: it makes its database. "
        "A team's server is simply there, so this is no part of a real run."
    )
    with say.waiting("waiting for Prefect"):
        stage.server.wait()
    return f"the cluster file is good, Prefect is ready: its UI with all runs is {stage.server.url}"


def plan(stage: Stage) -> str:
    """What bootstrap-cluster would do."""
    stage.screen.command(f"bootstrap-cluster {stage.file} --plan")
    result = stage.run("bootstrap_cluster", plan_only=True)
    stage.screen.say(plans.as_text(in_short(result.plan)))
    stage.screen.say("(Here with the details of the first member only; --plan gives them for all.)")
    touched = [host.name for host in stage.cluster.hosts if (stage.root / host.name).exists()]
    expect(not result.applied and not touched, f"a plan changed something: {touched}")
    return f"{plural(len(result.plan.steps), 'step')} would be done; nothing has been touched yet"


def bootstrap(stage: Stage) -> str:
    """The real flow, from nothing to a healthy cluster."""
    stage.watch()
    stage.screen.command(f"bootstrap-cluster {stage.file}")
    began = time.monotonic()
    result = stage.run("bootstrap_cluster")
    took = time.monotonic() - began
    stage.screen.raw()
    stage.screen.raw(tables.as_text(narrow(result.table, "id"), indent="   "))
    leaders = [member.name for member in result.members if member.is_leader]
    expect(len(result.members) == len(cluster.MEMBERS) and len(leaders) == 1, "this is not one cluster of three")
    return f"three healthy members after {took:.1f} s, {leaders[0]} leads; each has passed its own write and read"


def narrow(table: Table, *without: str) -> Table:
    """The table without some columns, for a terminal of 96."""
    kept = [index for index, heading in enumerate(table.headings) if heading not in without]
    return tables.table(
        [table.headings[index] for index in kept], [[row[index] for index in kept] for row in table.rows]
    )


def write_keys(stage: Stage) -> str:
    """Work with the cluster as a client does, and try without a certificate."""
    spec = stage.cluster
    authority = load_authority(spec.pki)
    if authority is None:
        raise EtcdFlowsError(
            f"there is no CA in {spec.pki.state_dir}", remedy="start the demo again in a new directory"
        )
    stage.operator = ensure_client(spec.pki, authority, datetime.now(UTC))
    stage.screen.say(f"A client with a certificate of this cluster writes {KEYS} keys, in turn through all members.")
    names = list(cluster.MEMBERS)
    began = time.monotonic()
    put(stage, names)
    took = time.monotonic() - began
    for name in names:
        stage.screen.say(f" + {name} has {count(stage, name)} of {stage.keys} keys (linearizable read)")
        expect(count(stage, name) == stage.keys, f"{name} does not have all keys")
    said = turned_away(stage, names[0])
    stage.screen.say(f" + a client without a certificate is turned away: {said}")
    return f"{KEYS} keys written in {took:.1f} s, all of them readable on all three members"


def put(stage: Stage, through: list[str]) -> float:
    """Write :data:`KEYS` keys in turn through some members; returns the longest pause between two acknowledgements."""
    clients = [stage.client(name, timeout=1.0) for name in through]
    last, longest = time.monotonic(), 0.0
    try:
        for number in range(KEYS):
            until = time.monotonic() + _PATIENCE
            while True:
                try:
                    clients[number % len(clients)].put(_PREFIX + b"%05d" % stage.keys, b"value %d" % stage.keys)
                    break
                except TransientHostError:
                    if time.monotonic() > until:
                        raise
            stage.keys += 1
            now = time.monotonic()
            last, longest = now, max(longest, now - last)
    finally:
        for client in clients:
            client.close()
    return longest


def count(stage: Stage, member: str, *, serializable: bool = False) -> int:
    """How many of the demo's keys, with their right values, one member gives."""
    wanted = {_PREFIX + b"%05d" % number: b"value %d" % number for number in range(stage.keys)}
    with stage.client(member) as client:
        if serializable:
            read = (client.get(key, serializable=True) for key in wanted)
            found = {item.key: item.value for item in read if item}
        else:
            found = {item.key: item.value for item in client.prefix(_PREFIX)}
    return sum(found.get(key) == value for key, value in wanted.items())


def turned_away(stage: Stage, member: str) -> str:
    """Ask a member with the right CA but without a client certificate; returns how it refused."""
    host = stage.cluster.host(member)
    trust = ssl.create_default_context(cafile=str(stage.cluster.pki.state_dir / "ca.crt"))
    connection = http.client.HTTPSConnection(host.address, host.client_port, context=trust, timeout=5)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse().status
    except (ssl.SSLError, OSError) as error:
        return str(getattr(error, "reason", None) or error).lower().replace("_", " ")
    finally:
        connection.close()
    raise EtcdFlowsError(
        f"{member} answered a client without certificate (HTTP {answer})",
        remedy="look at the member's unit or settings: it has to ask for client certificates",
    )


def lose_a_member(stage: Stage) -> str:
    """The worst of three to lose is the leader: the others have to elect a new one before anything can be written."""
    stage.lost = victim = leader(stage)
    killed = processes.kill_member(stage.root / victim)
    what = ", ".join(f"{name} ({pid})" for pid, name in killed.items())
    stage.screen.say(f"kill -9 of the leader, {victim}: {what}. No goodbye, no handing over.")
    expect("etcd" in killed.values() and not processes.running(stage.root / victim), f"{victim} could not be killed")
    others = [name for name in cluster.MEMBERS if name != victim]
    pause = put(stage, others)
    stage.screen.say(f" + {KEYS} more keys written with 2 of 3 members, after an election; longest pause {pause:.1f} s")
    for name in others:
        expect(count(stage, name) == stage.keys, f"{name} does not have all keys")
        stage.screen.say(f" + {name} has all {stage.keys} keys (linearizable read)")
    stage.screen.command(f"check-cluster {stage.file}")
    result = stage.run("check_cluster")
    for found in result.findings:
        if found.level != "ok":
            stage.screen.say(f" ! {found.host or result.cluster}: {found.check}: {found.text}", fg="yellow")
    expect(result.exit_code == 1, "check-cluster did not notice that a member is gone")
    return f"no acknowledged write was lost, writes paused {pause:.1f} s; check-cluster tells, with exit code 1"


def leader(stage: Stage) -> str:
    """The member that leads now.

    Raises:
        EtcdFlowsError: None does.
    """
    for name in cluster.MEMBERS:
        with stage.client(name) as client:
            if client.status().is_leader:
                return name
    raise EtcdFlowsError("no member leads", remedy="see the members' logs below the demo's directory")


def bring_it_back(stage: Stage) -> str:
    """The same command as at the beginning mends it."""
    victim = stage.lost
    stage.screen.command(f"bootstrap-cluster {stage.file} --plan")
    planned = stage.run("bootstrap_cluster", plan_only=True).plan
    stage.screen.say(plans.as_text(without_notes(planned)))
    steps = [step.key for step in planned.steps]
    expect(steps == [f"{victim}/start", f"{victim}/gate"], f"the plan should be to start {victim}, but is {steps}")
    stage.screen.command(f"bootstrap-cluster {stage.file}")
    result = stage.run("bootstrap_cluster")
    expect(result.plan.digest == planned.digest, "what was carried out is not what was planned")
    own = count(stage, victim, serializable=True)
    expect(own == stage.keys, f"{victim} has {own} of {stage.keys} keys in its own data")
    stage.screen.say(f" + {victim} has all {own} keys in its own data, also the {KEYS} written while it was down")
    return f"only {victim} was touched; it came back and caught up by itself"


def rerun(stage: Stage) -> str:
    """The same command once more."""
    stage.screen.command(f"bootstrap-cluster {stage.file}")
    began = time.monotonic()
    result = stage.run("bootstrap_cluster")
    expect(result.plan.empty and not result.applied, "a run on a healthy cluster wanted to change something")
    stage.screen.say(plans.as_text(without_notes(result.plan)))
    return f"nothing to do, known after {time.monotonic() - began:.1f} s; the command can be repeated at any time"


def destroy(stage: Stage) -> str:
    """Away with it: refused without the cluster's name, done with it."""
    stage.screen.command(f"destroy-cluster {stage.file}")
    try:
        stage.run("destroy_cluster")
    except Refused as error:
        stage.screen.say(f"refused (exit code {error.exit_code}): {error}", fg="yellow")
    else:
        raise EtcdFlowsError("destroy-cluster did not ask for the cluster's name")
    stage.screen.command(f"destroy-cluster {stage.file} --confirm {cluster.NAME} --delete-data")
    stage.run("destroy_cluster", confirm=cluster.NAME, delete_data=True)
    left = processes.running(stage.root)
    expect(not left, f"processes are left: {left}")
    data = [host.paths.data_dir for host in stage.cluster.hosts if (stage.root / host.name / "var/lib/etcd").exists()]
    expect(not data, f"data is left in {data}")
    return "members stopped, programs, certificates and data removed (the data only by --delete-data)"


def in_short(planned: Plan) -> Plan:
    """The plan with the changes of its first host only: all hosts are alike."""
    first = planned.steps[0].host
    phases = tuple(
        replace(phase, steps=tuple(step if step.host == first else replace(step, changes=()) for step in phase.steps))
        for phase in planned.phases
    )
    return replace(planned, phases=phases)


def without_notes(planned: Plan) -> Plan:
    """The notes on the version have been read once."""
    return replace(planned, notes=())
