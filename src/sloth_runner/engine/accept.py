"""Takes what is there into the record: ``stack accept``."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from sloth_runner.core import values
from sloth_runner.core.errors import SlothError, UsageError
from sloth_runner.core.record import ResourceRow
from sloth_runner.core.resource import Resource
from sloth_runner.core.schema import Content
from sloth_runner.core.values import State, Value
from sloth_runner.engine.defined import DefinitionChanged
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.registrations import observable
from sloth_runner.engine.seal import Seal, is_sealed
from sloth_runner.engine.workshop import Tools


@contextlib.asynccontextmanager
async def taking(tools: Tools, row: ResourceRow) -> AsyncIterator[Callable[[], ResourceRow]]:
    """Gives what returns ``row`` with what is there as what is wanted, called as it is recorded.

    Raises UsageError where nothing could be declared that would be as it is there.
    """
    if row.registered:
        raise UsageError(
            f"{row.address} is registered, so only its workflow can settle it",
            hint="run the workflow again, or change what it registers",
        )
    resource = resource_of(tools, row)
    if resource is None:
        raise UsageError(f"{row.address} cannot be accepted: {why_unchecked(tools, row)[0]}")
    [seen] = await tools.observations.fresh(row.address.host, [(row.address, resource)])
    if isinstance(seen, Exception):
        raise seen
    if seen is None and row.desired is not None:
        raise UsageError(
            f"{row.address} is gone, so there is nothing to accept",
            hint="run the workflow or drift --fix to bring it back",
        )
    async with _as_seen(tools, resource, seen, row.address.host) as found:
        yield lambda: _taken(tools.recorder, row, found, seen)


def _taken(
    recorder: Recorder, row: ResourceRow, found: Resource, seen: State | None
) -> ResourceRow:
    seal = recorder.seal
    # What was a secret stays one, though the thing that holds it was opened to others.
    was = {name for name, value in (row.actual or {}).items() if is_sealed(value)}
    sensitive = found.sensitive_beside(seen) | was
    params = recorder.params(row.address, found, sensitive)
    _check_accepted(seal, row, params, seen)
    desired = seal.state(found.desired(), sensitive)
    return structs.replace(
        row,
        params=params,
        desired=desired,
        actual=seal.state(seen, sensitive),
        checksum=values.checksum(desired),
        state="applied",
        drift=(),
        drift_since=None,
        error=None,
    )


def _check_accepted(
    seal: Seal, row: ResourceRow, params: Mapping[str, Value], seen: State | None
) -> None:
    """Raises UsageError unless a row with these parameters would want what is there."""
    hint = "drift --fix puts back what is recorded, and a run what the workflow declares"
    try:
        left = seal.resource(row.address.type, params).diff(seen)
    except SlothError as error:
        raise UsageError(
            f"{row.address} cannot be accepted: what is there could not be declared: "
            f"{error.detail}",
            hint=hint,
        ) from None
    if left.kind == "remove":
        raise UsageError(
            f"{row.address} cannot be accepted: it is declared to be absent, and is there",
            hint=hint,
        )
    if left:
        names = ", ".join(change.property for change in left.changes)
        raise UsageError(
            f"{row.address} cannot be accepted: no parameter takes {names} as it is there",
            hint=hint,
        )


def resource_of(tools: Tools, row: ResourceRow) -> Resource | None:
    """Returns what a row describes, as far as it can be looked at."""
    if row.registered:
        return observable(tools.recorder.seal.types, row.address, row.desired or {})
    return tools.observations.recorded(row.address)


def why_unchecked(tools: Tools, row: ResourceRow) -> tuple[str, bool]:
    """Returns why ``resource_of`` has none, and whether it should have had one.

    It need not where only the workflow can tell, or where that was changed and not run since.
    """
    if row.registered:
        return "registered by the workflow: only it can tell", False
    try:
        tools.recorder.seal.resource(row.address.type, row.params)
    except SlothError as error:
        return error.detail, not isinstance(error, DefinitionChanged)
    return f"no installed type can look at {row.address.type!r} as it was recorded", True


@contextlib.asynccontextmanager
async def _as_seen(
    tools: Tools, resource: Any, seen: State | None, host: str
) -> AsyncIterator[Resource]:
    """Gives ``resource`` as if what is there had been asked for.

    A content is in a file of its own meanwhile, which nobody else may read.
    """
    changes: dict[str, Value] = {}
    with contextlib.ExitStack() as copies:
        for name in resource.desired() or {}:
            if seen is None or name not in seen or not hasattr(resource, name):
                continue
            if isinstance(getattr(resource, name), Content):
                into = tools.recorder.seal.blobs.scratch()
                copies.callback(Path(into).unlink, missing_ok=True)
                machine = tools.machines.host(host)
                [path, *_] = resource.saves(seen) or (resource.path or "",)
                changes[name] = await machine.fetch(path, into)
            else:
                changes[name] = seen[name]
        yield structs.replace(resource, **changes)
