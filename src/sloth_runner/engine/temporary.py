"""``os.tmpname``: Lua's own neither makes the file nor keeps others from making it first."""

from sloth_runner.core.host import Host
from sloth_runner.core.schema import Content


async def make_temporary(controller: Host, path: str) -> None:
    """Makes an empty file for its owner alone; raises HostError where something is already."""
    await controller.write(path, Content.of(""), mode="0600", was="")
