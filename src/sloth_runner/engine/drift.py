"""Drift: what is recorded against what is there; the record is all that it needs.

``check`` looks at every recorded resource, ``repair`` puts back what drifted, and
``accept`` takes the actual values into the record.
"""

import contextlib
import shlex
import time
from collections.abc import AsyncIterator, Iterable, Sequence

from msgspec import Struct, field, structs

from sloth_runner.core.address import Address
from sloth_runner.core.diff import Change, Diff
from sloth_runner.core.errors import Location, SlothError, Unreachable, UsageError
from sloth_runner.core.events import ChangeItem, ResourceDrift, StreamStart, Summary
from sloth_runner.core.record import ResourceRow, Run, RunKind, Stack, now
from sloth_runner.core.resource import Resource
from sloth_runner.core.values import State, Value
from sloth_runner.engine.accept import resource_of, taking, why_unchecked
from sloth_runner.engine.bus import Bus, Publish
from sloth_runner.engine.commands import survives, wait_for_survivors
from sloth_runner.engine.context import Caller
from sloth_runner.engine.holding import held
from sloth_runner.engine.observations import Seen
from sloth_runner.engine.recover import settle_doubts
from sloth_runner.engine.registrations import differences
from sloth_runner.engine.seal import Seal, change_data, is_sealed, redacted
from sloth_runner.engine.stopping import OnStop, Stop, stoppable
from sloth_runner.engine.work import without_host
from sloth_runner.engine.workshop import LoadProgram, Settings, Tools
from sloth_runner.state.journal import Journal


class Unchecked(Struct, frozen=True):
    """A recorded resource that was not compared; ``failed`` where it could have been."""

    address: str
    reason: str
    failed: bool


class DriftReport(Struct, kw_only=True):
    """What a check found; ``since`` of a drifted one is when it was first seen."""

    stack: str
    checked: int = 0
    drifted: list[ResourceDrift] = field(default_factory=list)
    missing: list[ResourceDrift] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    failed: list[SlothError] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """How many resources could not be looked at, or not be put back."""
        return len(self.failed) + sum(one.failed for one in self.unchecked)

    def as_value(self) -> dict[str, Value]:
        """Returns the JSON document of ``stack drift --json``."""
        return {
            "stack": self.stack,
            "checked": self.checked,
            "drifted": [
                {
                    "address": f"{event.host}/{event.res}",
                    "registered": event.registered,
                    "since": event.since,
                    "changes": [
                        {"property": c.path, "recorded": c.old, "actual": c.new}
                        for c in event.changes
                    ],
                }
                for event in self.drifted
            ],
            "missing": list(dict.fromkeys(f"{event.host}/{event.res}" for event in self.missing)),
            "unreachable": list(dict.fromkeys(self.unreachable)),
            "unchecked": [structs.asdict(one) for one in self.unchecked],
            **({"repaired": self.repaired} if self.repaired else {}),
        }


class Drift:
    """Looks at, repairs or accepts what one stack has recorded."""

    def __init__(
        self,
        settings: Settings,
        stack_name: str,
        *,
        publish: Publish,
        argv: str,
        load: LoadProgram | None = None,
        on_stop: OnStop | None = None,
    ) -> None:
        self._load = load
        self._on_stop = on_stop
        self._settings = settings
        self._name = stack_name
        self._bus = Bus(publish)
        self._argv = argv

    async def check(self, *, fix: bool = False, wait: float = 0.0) -> DriftReport:
        """Looks at every recorded resource again; with ``fix``, puts back what drifted.

        The record notes what drifted and since when, and forgets it when the machine agrees
        again. No machine is changed without ``fix``.
        """
        async with self._opened("fix" if fix else "drift", wait) as tools:
            began = time.monotonic()
            report = DriftReport(stack=self._name)
            rows = list(tools.recorder.rows.values())
            drifted = await self._compare(tools, [r for r in rows if not r.registered], report)
            if fix:
                await self._repair(tools, drifted, report)
            # What was put back may be what is registered.
            await self._compare(tools, [r for r in rows if r.registered], report)
            await tools.recorder.emit(_summary(tools, report, time.monotonic() - began))
            return report

    async def accept(self, addresses: Sequence[str], *, wait: float = 0.0) -> list[Address]:
        """Takes what is there into the record, for the resources named; returns their addresses.

        Raises UsageError for an address that is not recorded, or that is gone.
        """
        async with self._opened("accept", wait) as tools:
            rows = list(tools.recorder.rows.values())
            async with contextlib.AsyncExitStack() as opened:
                chosen = [named(rows, one, self._name) for one in addresses]
                taken = [await opened.enter_async_context(taking(tools, row)) for row in chosen]
                accepted = await tools.recorder.put_many(lambda: [take() for take in taken])
            for _ in accepted:
                tools.counts.add("accepted")
            return [row.address for row in accepted]

    @contextlib.asynccontextmanager
    async def _opened(self, kind: RunKind, wait: float) -> AsyncIterator[Tools]:
        stop = Stop()
        with (
            stoppable(stop, self._on_stop, self._bus.publish),
            contextlib.closing(Journal.open(self._settings.db, create=False)) as journal,
        ):
            name = self._name
            stack = await journal.read(lambda store: store.stack(name))
            if stack is None:
                raise UsageError(f"there is no stack called {name!r}")
            counts: dict[str, int] = {}
            async with held(
                journal,
                stack,
                kind=kind,
                command=self._argv,
                wait=wait,
                db=self._settings.db,
                counts=counts,
            ) as run:
                self._start(stack, run, kind)
                if kind == "fix":
                    await wait_for_survivors(
                        journal, stack.id, wait=wait, publish=self._bus.publish
                    )
                tools = await Tools.open(
                    settings=self._settings,
                    journal=journal,
                    stack=stack,
                    run=run,
                    bus=self._bus,
                    stop=stop,
                    load=self._load,
                )
                tools.claims.assume_recorded()
                tools.recorder.seal.sealer.check()
                try:
                    if not await survives(journal, stack.id):
                        await settle_doubts(tools.recorder, tools.observations, tools.machines)
                    yield tools
                finally:
                    counts |= tools.counts.by_outcome
                    await tools.close()

    def _start(self, stack: Stack, run: Run, kind: str) -> None:
        self._bus.publish(
            StreamStart(msg=f"{kind} of {stack.name}", stack=stack.name, n=run.number, kind=kind)
        )

    async def _compare(
        self, tools: Tools, rows: Iterable[ResourceRow], report: DriftReport
    ) -> list[tuple[ResourceRow, Resource]]:
        """Compares rows with their machines; returns those that drifted."""

        def unchecked(row: ResourceRow, why: str, *, failed: bool) -> None:
            report.unchecked.append(Unchecked(str(row.address), why, failed))
            if failed:
                tools.counts.add("failed")

        asked: list[tuple[ResourceRow, Resource]] = []
        for row in rows:
            resource = resource_of(tools, row)
            if resource is None:
                why, failed = why_unchecked(tools, row)
                unchecked(row, why, failed=failed)
            elif row.error is not None and (row.last_applied is None or row.state == "orphaned"):
                why = "its last change failed" if row.last_applied else "never applied"
                unchecked(row, f"{why}: {row.error}", failed=False)
            else:
                asked.append((row, resource))
        drifted = []
        for row, resource, seen in await _look(tools, asked):
            if isinstance(seen, Unreachable):
                report.unreachable.append(str(row.address))
            elif isinstance(seen, Exception):
                unchecked(row, str(seen), failed=True)
            else:
                report.checked += 1
                if await self._judge(tools, row, resource, seen, report):
                    drifted.append((row, resource))
        return drifted

    async def _judge(
        self,
        tools: Tools,
        row: ResourceRow,
        resource: Resource,
        seen: State | None,
        report: DriftReport,
    ) -> bool:
        sensitive = resource.sensitive_beside(seen)
        changes = _differences(row, resource, seen, sensitive, tools.recorder.seal)
        failed = row.state == "failed"
        lasting = row.state if row.state in ("failed", "orphaned") else None
        wanted = resource.desired() if failed else row.actual
        missing = seen is None and wanted is not None
        tools.counts.add("drifted" if changes or missing else "unchanged")
        if not changes and not missing:
            if row.drift or row.state == "drift":
                await tools.recorder.put(
                    structs.replace(row, state=lasting or "applied", drift=(), drift_since=None)
                )
            return False
        since = row.drift_since or now()
        event = ResourceDrift(
            msg=f"{row.address} {'is gone' if missing else 'has drifted'}",
            level="warn",
            host=row.address.host,
            res=without_host(row.address),
            loc=row.location,
            changes=changes,
            since=since,
            missing=missing,
            registered=row.registered,
        )
        (report.missing if missing else report.drifted).append(event)
        await tools.recorder.put(
            structs.replace(
                row,
                state=lasting or "drift",
                drift=change_data(changes),
                drift_since=since,
            ),
            event,
        )
        return True

    async def _repair(
        self,
        tools: Tools,
        drifted: Iterable[tuple[ResourceRow, Resource]],
        report: DriftReport,
    ) -> None:
        """Puts back what drifted, in the order in which it was first made."""
        for row, resource in sorted(drifted, key=lambda one: one[0].order):
            caller = Caller(
                task=row.task or "main",
                attempt=0,
                function=f"{row.module}.drift",
                location=Location.parse(row.location) if row.location else None,
                leaves="orphaned" if row.state == "orphaned" else "applied",
            )
            [outcome] = await tools.pipeline.ensure(row.address.host, [resource], caller)
            if outcome.error is not None:
                report.failed.append(outcome.error)
                continue
            report.repaired.append(str(row.address))


async def _look(
    tools: Tools, asked: Sequence[tuple[ResourceRow, Resource]]
) -> list[tuple[ResourceRow, Resource, Seen]]:
    """Observes everything afresh, in one batch for each host and type."""
    groups: dict[tuple[str, type[Resource], bool], list[tuple[ResourceRow, Resource]]] = {}
    for row, resource in asked:
        key = (row.address.host, type(resource), row.registered)
        groups.setdefault(key, []).append((row, resource))
    answers: list[tuple[ResourceRow, Resource, Seen]] = []
    for (host, _, _), group in groups.items():
        wanted = [(row.address, resource) for row, resource in group]
        seen = await tools.observations.get(host, wanted)
        answers += [(row, res, one) for (row, res), one in zip(group, seen, strict=True)]
    return answers


def _differences(
    row: ResourceRow,
    resource: Resource,
    seen: State | None,
    sensitive: frozenset[str],
    seal: Seal,
) -> tuple[ChangeItem, ...]:
    """Returns what is recorded (old) against what is there (new), property by property.

    What failed has no state that anybody wanted, and what is to be absent none at all: there it
    is what is declared that counts.
    """
    if row.registered:
        return tuple(
            ChangeItem(path=c.property, old=c.new, new=c.old)
            for c in differences(resource, seen, row.desired or {})
        )
    recorded, desired = row.actual, resource.desired()
    if desired is None or row.state == "failed":
        changes = tuple(Change(c.property, c.new, c.old) for c in resource.diff(seen).changes)
        return redacted(Diff("change", changes), sensitive, {})
    found = []
    names = sorted({*desired, *resource.tracked} - {*resource.untracked})
    for name in names:
        old, new = (recorded or {}).get(name), (seen or {}).get(name)
        kept = seal.same(old, new) or not resource.drifted(name, old, new)
        if not kept or (seen is None and recorded is not None):
            hidden = name in sensitive or name in resource.sensitive or is_sealed(old)
            found.append(
                ChangeItem(
                    path=name,
                    old="(sensitive)" if hidden and old is not None else old,
                    new="(sensitive)" if hidden and new is not None else new,
                    sensitive=hidden,
                )
            )
    return tuple(found)


def named(rows: Sequence[ResourceRow], written: str, stack: str) -> ResourceRow:
    """Returns the row of an address, a module's own before a registration.

    Raises UsageError for what is no address, and for one that is not recorded.
    """
    address = Address.parse(written)
    found = [row for row in rows if row.address == address]
    if not found:
        raise UsageError(
            f"{address} is not recorded in stack {stack}",
            hint=f"sloth-runner stack resources {shlex.quote(stack)} lists what is",
        )
    return min(found, key=lambda row: row.registered)


def _summary(tools: Tools, report: DriftReport, seconds: float) -> Summary:
    found = len(report.drifted) + len(report.missing)
    left = found - len(report.repaired)
    return Summary(
        msg=f"{report.checked} checked, {found} drifted",
        created=tools.counts["created"],
        changed=tools.counts["changed"],
        removed=tools.counts["removed"],
        unchanged=report.checked - found,
        failed=report.failures,
        exit=1 if report.failures else 0,
        seconds=round(seconds, 3),
        result="failed" if report.failures else ("drift" if left else "ok"),
        checked=report.checked,
    )
