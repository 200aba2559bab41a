"""``systemd.restart``, ``systemd.reload`` and ``systemd.daemon_reload``."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import structs

from sloth_runner.core.errors import Refused
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Action, Function, declare
from sloth_runner.core.schema import Doc, Seconds
from sloth_runner.core.values import Value
from sloth_runner.resources import _systemd
from sloth_runner.resources._systemd import Unit


class _Control(Action, frozen=True, kw_only=True):
    """What restart and reload share: the unit, and how long it may take."""

    name: Annotated[str, Doc('The unit: "nginx" is "nginx.service"; other types in full.')]
    timeout: Annotated[Seconds, Doc("How long to wait until it is up.")] = _systemd.TIMEOUT

    def __post_init__(self) -> None:
        structs.force_setattr(self, "name", _systemd.short_name(self.name))

    def check(self) -> None:
        """Refuses what cannot be a unit."""
        _systemd.check_name(self.name)

    @property
    def title(self) -> str:
        return self.name

    @property
    def predictable(self) -> Mapping[str, Value]:
        return {"success": True}

    async def _unit(self, host: Host) -> Unit:
        [unit] = await _systemd.show(host, [self.name])
        if not unit.found:
            raise await _systemd.missing(host, self.name)
        if unit.load == "masked":
            raise Refused(
                f"{self.name} is masked, so that nothing can start it",
                hint="systemd.ensure with masked = false allows it again",
            )
        return unit


@declare(
    "restart",
    Function(name="systemd.restart", doc="Restarts a unit and waits until it is up."),
)
class Restart(_Control, frozen=True, kw_only=True):
    """Restarts a unit, starts it where it does not run, and waits until it is up for good.

    The manager reads a changed unit file first. A unit that runs once must succeed.

    ```lua
    systemd.restart("cron")
    ```
    """

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({"name": "cron"},)

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Restarts it; raises CommandFailed with what the journal says where it stays down."""
        await self._unit(host)
        await _systemd.bring_up(host, self.name, "restart", self.timeout)
        return {"success": True}


@declare(
    "reload",
    Function(name="systemd.reload", doc="Has a running unit read its configuration again."),
)
class Reload(_Control, frozen=True, kw_only=True):
    """Has a running unit read its own configuration again, without an interruption.

    ```lua
    systemd.reload({ name = "ssh" })
    ```
    """

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({"name": "ssh"},)

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Reloads it; raises Refused where it does not run, or cannot do that."""
        unit = await self._unit(host)
        if not unit.is_up:
            raise Refused(
                f"{self.name} is {unit.state} on {host.name}, so it cannot reload",
                hint="systemd.restart starts it as well",
            )
        if not unit.can_reload:
            raise Refused(
                f"{self.name} does not know how to reload (ExecReload=)",
                hint="use systemd.restart",
            )
        await _systemd.bring_up(host, self.name, "reload", self.timeout)
        return {"success": True}


@declare(
    "daemon_reload",
    Function(name="systemd.daemon_reload", doc="Has systemd read all unit files again."),
)
class DaemonReload(Action, frozen=True, kw_only=True):
    """Has systemd read all unit files again, whether one has changed or not.

    ``systemd.unit``, ``systemd.ensure`` and ``systemd.restart`` do so where it is needed.

    ```lua
    systemd.daemon_reload()
    ```
    """

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = ({},)

    @property
    def title(self) -> str:
        return "systemd"

    @property
    def predictable(self) -> Mapping[str, Value]:
        return {"success": True}

    async def run(self, host: Host) -> Mapping[str, Value]:
        """Reloads the manager."""
        await _systemd.daemon_reload(host)
        return {"success": True}
