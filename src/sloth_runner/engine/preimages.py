"""Keeps what is about to be overwritten, so that it can be brought back."""

from msgspec import Struct

from sloth_runner.core.errors import HostError, SlothError, TaskError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Checked, Origin, Resource
from sloth_runner.core.schema import Content
from sloth_runner.core.values import State
from sloth_runner.state.blobs import Blobs

RUN_LIMIT = 1024**3
"""Bytes of pre-images that one run keeps at the most."""

_BLOCK = 512
"""What a tar archive, in which a tree is kept, adds for an entry, and rounds its size up to."""


class Preimages(Struct, kw_only=True):
    """Fetches pre-images into the blob store: ``limit`` bytes of one path, RUN_LIMIT of a run."""

    blobs: Blobs
    limit: int
    kept: int = 0

    async def take(self, host: Host, resource: Resource, seen: State | None) -> Origin:
        """Returns what was there before ``resource`` is changed, its bytes safely kept.

        What is above a limit is left out: the preview has said that it cannot be undone.
        Raises TaskError where it is to be removed, which only ``force`` may do.
        """
        host = host.controller if resource.on_controller else host
        saved: dict[str, Content | None] = {}
        for path in resource.saves(seen):
            try:
                found = await host.fetch(path, self.blobs.scratch(), limit=self._room)
            except HostError as error:
                if error.errno_name != "EFBIG":
                    raise
                if (refusal := self._not_forced(resource, seen, path)) is not None:
                    raise refusal from None
            else:
                saved[path] = found
                self.kept += 0 if found is None else found.size
        return Origin(actual=seen, saved=saved)

    async def hindrance(self, host: Host, resource: Resource, seen: State | None) -> Checked:
        """Returns why the change could not be undone, for the preview, or what ``take`` raises."""
        if seen is None:
            return None
        host = host.controller if resource.on_controller else host
        for path in resource.saves(seen):
            try:
                size = await _size(host, path)
            except SlothError as error:
                return error
            if size > self._room:
                refusal = self._not_forced(resource, seen, path)
                return refusal or f"cannot be undone: {path} has {size} bytes"
            self.kept += size
        return None

    @property
    def _room(self) -> int:
        return max(0, min(self.limit, RUN_LIMIT - self.kept))

    def _not_forced(self, resource: Resource, seen: State | None, path: str) -> TaskError | None:
        if seen is None or not resource.absent or _forced(resource):
            return None
        return TaskError(
            f"{path} is larger than what is kept (--max-preimage, {self.limit} bytes, and "
            f"{RUN_LIMIT} in one run), so its removal could not be undone",
            hint="say force = true to remove it all the same",
        )


async def _size(host: Host, path: str) -> int:
    """Returns about how many bytes it takes to keep what is at a path."""
    stat = await host.stat(path)
    if stat is None:
        return 0
    if stat.kind != "directory":
        return stat.size
    entries = await host.ask("walk", path=path) or ()
    sizes = (entry["size"] if entry["kind"] == "file" else 0 for entry in entries)
    return sum(-(-size // _BLOCK) * _BLOCK + _BLOCK for size in sizes)


def _forced(resource: Resource) -> bool:
    return bool(getattr(resource, "force", False))
