"""What the pipeline writes of one resource, beside what the run itself adds to its row."""

from collections.abc import Mapping

from msgspec import Struct, structs

from sloth_runner.core.address import Address
from sloth_runner.core.record import Provenance, ResourceRow
from sloth_runner.core.resource import Origin, Resource
from sloth_runner.core.values import State, Value
from sloth_runner.engine.context import Caller


class Written(Struct, frozen=True, kw_only=True):
    """What is written of one resource: the parts of its row that the pipeline knows."""

    address: Address
    resource: Resource
    caller: Caller
    before: State | None
    after: State | None
    sensitive: frozenset[str]
    origin: Origin

    def provenance(
        self, old: ResourceRow | None, previous: Mapping[str, Value] | None
    ) -> tuple[Provenance, Mapping[str, Value] | None]:
        """Decides once, when a row begins, whether the thing was there before us.

        ``old`` is the row that there is, ``previous`` what would be the origin now.
        """
        changed = bool(self.resource.diff(self.before))
        if old is not None and not (old.provenance == "adopted" and changed):
            return old.provenance, old.origin
        if old is None and self.before is None and not self.resource.absent:
            return "created", None
        if not changed:
            return "adopted", None
        return "modified", previous


def same_wish(row: ResourceRow, resource: Resource) -> bool:
    """Whether ``resource`` is to exist, or to be absent, as it was when ``row`` was written."""
    return (row.desired is None) is resource.absent


def kept_row(row: ResourceRow) -> dict[str, Value]:
    """Returns a row as an operation keeps it, for whoever has to settle it (``engine.recover``)."""
    data = structs.asdict(row)
    data["address"] = str(row.address)
    data["drift"] = list(row.drift)
    data.pop("carry")
    return data
