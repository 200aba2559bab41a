"""Keeps what is about to be overwritten, so that it can be brought back."""

from msgspec import Struct

from sloth_runner.core.errors import HostError, TaskError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Origin, Resource
from sloth_runner.core.schema import Content
from sloth_runner.core.values import State
from sloth_runner.state.blobs import Blobs


class Preimages(Struct, frozen=True, kw_only=True):
    """Fetches pre-images of up to ``limit`` bytes into the blob store."""

    blobs: Blobs
    limit: int

    async def take(self, host: Host, resource: Resource, seen: State | None) -> Origin:
        """Returns what was there before ``resource`` is changed, its bytes safely kept.

        A file above the limit is left out: the preview has said that it cannot be undone.
        Raises TaskError for a tree above it, which only ``force`` may remove.
        """
        host = host.controller if resource.on_controller else host
        saved: dict[str, Content | None] = {}
        for path in resource.saves(seen):
            try:
                saved[path] = await host.fetch(path, self.blobs.scratch(), limit=self.limit)
            except HostError as error:
                if error.errno_name != "EFBIG":
                    raise
                if seen is not None and resource.desired() is None and not _forced(resource):
                    raise TaskError(
                        f"{path} is larger than --max-preimage ({self.limit} bytes), so its "
                        "removal could not be undone",
                        hint="say force = true to remove it all the same",
                    ) from error
        return Origin(actual=seen, saved=saved)

    async def hindrance(self, host: Host, resource: Resource, seen: State | None) -> str | None:
        """Returns why the change could not be undone, for the preview, or None."""
        if seen is None:
            return None
        host = host.controller if resource.on_controller else host
        for path in resource.saves(seen):
            stat = await host.stat(path)
            if stat is not None and stat.kind == "file" and stat.size > self.limit:
                return f"cannot be undone: {path} has {stat.size} bytes"
        return None


def _forced(resource: Resource) -> bool:
    return bool(getattr(resource, "force", False))
