"""What is settled when the tasks of a run have ended: carries, orphans, hashes."""

from msgspec import structs

from sloth_runner.core.events import Orphaned
from sloth_runner.core.record import ResourceRow
from sloth_runner.engine.scheduler import Ended
from sloth_runner.engine.seal import BASE
from sloth_runner.engine.work import without_host
from sloth_runner.engine.workshop import Workshop


async def finish(workshop: Workshop, ended: Ended, *, same_path: bool) -> int:
    """Writes what only the end of a run knows; returns how many resources are orphaned."""
    recorder = workshop.tools.recorder
    await recorder.flush()
    await recorder.clear_carries(
        [row.key for row in recorder.rows.values() if _followed_through(workshop, ended, row)]
    )
    await _drop_refinements(workshop, ended)
    count = 0
    if same_path and ended.complete and not ended.errors:
        count = await _orphan(workshop, ended)
    digests = workshop.tools.machines.new_digests()
    if digests:
        name = workshop.tools.machines.controller.name
        await recorder.journal.do(lambda store: store.put_digests(name, digests))
    return count


def _followed_through(workshop: Workshop, ended: Ended, row: ResourceRow) -> bool:
    """Whether everything that should follow the change of ``row`` has succeeded in this run."""
    if row.carry is None:
        return False
    recorder, graph = workshop.tools.recorder, workshop.scheduler.graph
    if row.claimed_run != recorder.run.number:
        return False
    owners = set(recorder.claimants.get(row.key, ()))
    if row.carry.run == recorder.run.id:  # who made it now, whoever declared it again
        owners.add(row.carry.task)
    return bool(owners) and all(
        ended.outcomes.get(owner) == "ok"
        and all(ended.succeeded(task) for task in graph.dependents(owner))
        for owner in owners
    )


async def _drop_refinements(workshop: Workshop, ended: Ended) -> None:
    """Forgets refinements that were not declared again: the next run wants what still is."""
    if ended.errors or not ended.complete:
        return
    recorder = workshop.tools.recorder
    refined = [
        (row, declared)
        for address, declared in sorted(workshop.tools.claims.awaiting.items())
        if (row := recorder.row(address)) is not None and BASE in row.params
    ]
    if refined:
        await recorder.put_many(
            lambda: [
                structs.replace(row, params=recorder.params(row.address, declared))
                for row, declared in refined
            ]
        )


def orphans(workshop: Workshop, ended: Ended) -> list[tuple[ResourceRow, Orphaned]]:
    """Returns the recorded resources that the workflow no longer speaks of, with their events.

    What a task that was skipped claimed last time is not among them.
    """
    seen = workshop.tools.claims.seen
    skipped = {task for task, outcome in ended.outcomes.items() if outcome == "skipped"}
    return [
        (
            row,
            Orphaned(
                msg=f"{row.address} is no longer declared; it stays as it is",
                host=row.address.host,
                res=without_host(row.address),
                loc=row.location,
            ),
        )
        for row in workshop.tools.recorder.rows.values()
        if row.key not in seen and row.task not in skipped
    ]


async def _orphan(workshop: Workshop, ended: Ended) -> int:
    """Marks orphans as such in the record; removes nothing."""
    found = orphans(workshop, ended)
    for row, event in found:
        if row.state != "orphaned":
            await workshop.tools.recorder.put(
                structs.replace(row, state="orphaned", carry=None), event
            )
    return len(found)
