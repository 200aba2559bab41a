"""What is settled when the tasks of a run have ended: carries, orphans, hashes."""

import dataclasses

from sloth_runner.core.events import Orphaned
from sloth_runner.core.record import ResourceRow
from sloth_runner.engine.program import MAIN
from sloth_runner.engine.scheduler import Ended
from sloth_runner.engine.seal import BASE
from sloth_runner.engine.workshop import Workshop


async def finish(workshop: Workshop, ended: Ended, *, same_path: bool) -> int:
    """Writes what only the end of a run knows; returns how many resources are orphaned."""
    recorder = workshop.tools.recorder
    await recorder.flush()
    await recorder.clear_carries(
        [row.key for row in recorder.rows.values() if _followed_through(workshop, ended, row)]
    )
    await _drop_refinements(workshop, ended)
    orphans = 0
    if same_path and ended.complete and not ended.errors:
        orphans = await _orphan(workshop, ended)
    digests = workshop.tools.machines.new_digests()
    if digests:
        name = workshop.tools.machines.controller.name
        await recorder.journal.do(lambda store: store.put_digests(name, digests))
    return orphans


def _followed_through(workshop: Workshop, ended: Ended, row: ResourceRow) -> bool:
    """Whether everything that should follow the change of ``row`` has succeeded in this run."""
    if row.carry is None:
        return False
    graph = workshop.scheduler.graph
    known = row.carry.task in graph.tasks or row.carry.task == MAIN
    owner = row.carry.task if known else row.task
    if owner is None or row.claimed_run != workshop.tools.recorder.run.number:
        return False
    if ended.outcomes.get(owner) != "ok":
        return False
    return all(ended.succeeded(task) for task in graph.dependents(owner))


async def _drop_refinements(workshop: Workshop, ended: Ended) -> None:
    """Forgets refinements that were not declared again: the next run wants the base alone."""
    if ended.errors or not ended.complete:
        return
    recorder = workshop.tools.recorder
    for address in sorted(workshop.tools.claims.awaiting):
        row = recorder.row(address)
        if row is not None and BASE in row.params:
            await recorder.put(dataclasses.replace(row, params=row.params[BASE]))


async def _orphan(workshop: Workshop, ended: Ended) -> int:
    """Marks the recorded resources that the workflow no longer speaks of; removes nothing."""
    recorder, seen = workshop.tools.recorder, workshop.tools.claims.seen
    skipped = {task for task, outcome in ended.outcomes.items() if outcome == "skipped"}
    count = 0
    for row in list(recorder.rows.values()):
        if row.key in seen or row.task in skipped:
            continue
        count += 1
        if row.state != "orphaned":
            event = Orphaned(
                msg=f"{row.address} is no longer declared; it stays as it is",
                host=row.address.host,
                res=str(row.address).partition("/")[2],
                loc=row.location,
            )
            await recorder.put(dataclasses.replace(row, state="orphaned", carry=None), event)
    return count
