"""``service``: a unit of systemd, whether it runs now and whether it starts at boot."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import structs

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused, TaskError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Doc, Seconds
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _systemd
from sloth_runner.resources._systemd import Unit

_OWN_UNITS = "/etc/systemd/system/"
_CHOICES = ("name", "timeout")
# Actual values that are good enough for a desired one; each is also good enough for itself.
_ENOUGH = {
    "started": {"finished"},
    "stopped": {"failed", "finished"},
    False: {"static", "indirect"},
}


@declare(
    "service",
    Function(
        name="systemd.ensure",
        doc="Keeps a unit running or stopped, and enabled at boot or not: each only if given.",
        each="names",
    ),
    Function(
        name="systemd.start",
        doc="Keeps a unit running.",
        preset={"state": "started"},
        accepts=_CHOICES,
        each="names",
    ),
    Function(
        name="systemd.stop",
        doc="Keeps a unit stopped.",
        preset={"state": "stopped"},
        accepts=_CHOICES,
        each="names",
    ),
    Function(
        name="systemd.enable",
        doc="Keeps a unit enabled at boot.",
        preset={"enabled": True},
        accepts=_CHOICES,
        each="names",
    ),
    Function(
        name="systemd.disable",
        doc="Keeps a unit disabled at boot.",
        preset={"enabled": False},
        accepts=_CHOICES,
        each="names",
    ),
)
class Service(Resource, frozen=True, kw_only=True):
    """Keeps a unit running or stopped now, and enabled or disabled at boot.

    The two are apart: what is left out is not managed. A unit counts as started when it is
    active and stays so, or when it runs once (``Type=oneshot``) and has succeeded since
    boot; the manager must remember that, as it does for enabled units. Stopped and disabled
    need no unit: what is not installed does not run. Several declarations of one unit add up
    as long as they do not contradict each other.

    ```lua
    systemd.ensure({ name = "cron", state = "started", enabled = true })
    ```
    """

    name: Annotated[
        str, Doc('The unit: "nginx" is "nginx.service"; other types in full.', key=True)
    ]
    state: Annotated[
        Literal["started", "running", "stopped"] | None,
        Doc('Whether it runs now; "running" is another word for "started".'),
    ] = None
    enabled: Annotated[bool | None, Doc("Whether it starts at boot.")] = None
    masked: Annotated[bool | None, Doc("Whether nothing and nobody can start it.")] = None
    timeout: Annotated[Seconds, Doc("How long to wait until it is up, or has stopped.")] = (
        _systemd.TIMEOUT
    )

    has_aliases: ClassVar[bool] = True
    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"name": "cron", "state": "started", "enabled": True},
        {"name": "cron.service", "state": "stopped"},
        {"name": "cron", "enabled": False},
        {"name": "cron", "state": "stopped", "masked": True},
    )

    def __post_init__(self) -> None:
        # One unit, one name, one word: "nginx.service" and "running" mean the same thing.
        structs.force_setattr(self, "name", _systemd.short_name(self.name))
        if self.state == "running":
            structs.force_setattr(self, "state", "started")

    def check(self) -> None:
        """Refuses what cannot be a unit, and wishes that exclude each other."""
        _systemd.check_name(self.name)
        if self.state is None and self.enabled is None and self.masked is None:
            raise ParamError("it is not said what to ensure", hint="give state, enabled or masked")
        if self.masked and (self.state == "started" or self.enabled):
            raise ParamError("a masked unit can be neither started nor enabled")

    @property
    def observation_key(self) -> Hashable:
        return (self.name, self._needs_unit)

    @property
    def _needs_unit(self) -> bool:
        return self.state == "started" or self.enabled is True

    def refine(self, earlier: Any) -> Any:
        """Adds what this declares to what another did; None where they contradict."""
        merged = {}
        for name in ("state", "enabled", "masked"):
            mine, theirs = getattr(self, name), getattr(earlier, name)
            if mine is not None and theirs is not None and mine != theirs:
                return None
            merged[name] = theirs if mine is None else mine
        both = structs.replace(earlier, **merged, timeout=max(self.timeout, earlier.timeout))
        try:
            both.check()
        except ParamError:
            return None
        return both

    def desired(self) -> State | None:
        wanted = {"state": self.state, "enabled": self.enabled, "masked": self.masked}
        return {name: value for name, value in wanted.items() if value is not None}

    def matches(self, name: str, desired: Value, actual: Value) -> bool:
        # In Python False == 0, but no property here is a number.
        return bool(desired == actual) or actual in _ENOUGH.get(desired, ())

    def drifted(self, name: str, recorded: Value, actual: Value) -> bool:
        # A unit may end by itself, and systemd forget that it had failed: nobody touched it.
        return not self.matches(name, (self.desired() or {}).get(name), actual)

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        """Asks the manager once for all of them."""
        units = await _systemd.show(host, [service.name for service in resources])
        return [
            service._seen(unit, await _enabled(host, unit))
            for service, unit in zip(resources, units, strict=True)
        ]

    @classmethod
    async def known_as(cls, host: Host, seen: Sequence[tuple[Any, State | None]]) -> Sequence[str]:
        """Returns the names of the units, where those that were declared are aliases of them."""
        return [str((state or {}).get("alias_of", service.name)) for service, state in seen]

    def _seen(self, unit: Unit, enabled: bool | str) -> State | None:
        if not unit.found and self._needs_unit:
            return None
        return {
            "state": unit.state,
            "enabled": enabled,
            "masked": unit.load == "masked",
            # Only where it says something: most units go on until they are stopped.
            **({"runs_once": True} if unit.runs_once else {}),
            **({"alias_of": unit.name} if unit.name != self.name else {}),
        }

    def plan_check(self, actual: State | None) -> None:
        if actual is None:
            return
        # In a preview it may be what an earlier line is predicted to leave: what that set.
        if actual.get("masked") and self.masked is not False and self._needs_unit:
            raise Refused(
                f"{self.name} is masked, so that nothing can start it",
                hint="say masked = false to allow it again",
            )
        self._check_enabled(actual.get("enabled"))
        remembered = actual.get("enabled") is True or self.enabled
        if (
            self.state == "started"
            and actual.get("runs_once")
            and actual.get("state") not in ("started", "finished")
            and not remembered
        ):
            raise Refused(
                f"{self.name} runs once and ends (Type=oneshot), and systemd does not remember "
                "that it did, so it cannot be kept started",
                hint="enable it, run it with systemd.restart, or give its unit RemainAfterExit=yes",
            )

    def _check_enabled(self, actual: Value) -> None:
        if actual in ("static", "indirect") and self.enabled:
            raise Refused(
                f"{self.name} cannot be enabled: it is {actual}, its unit does not say where "
                "([Install] section)",
                hint="enable the socket, timer or other unit that starts it",
            )
        if actual in ("generated", "transient") and self.enabled is not None:
            raise Refused(
                f"{self.name} cannot be enabled or disabled: it is {actual}, it has no unit file",
                hint="change what it is generated from",
            )

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        """Refuses units that do not exist, and to mask those where that would not help.

        What has lost its file while it ran goes on until it is stopped, and cannot be enabled.
        """
        if actual is None:
            raise await _systemd.missing(host, self.name)
        if "enabled" not in change and "masked" not in change:
            return
        [unit] = await _systemd.show(host, [self.name])
        if self.enabled and unit.load == "not-found":
            raise TaskError(
                f"{unit.id} runs on {host.name} and has no unit file, so it cannot be enabled",
                hint="put the file back first, with its package or with systemd.unit",
            )
        if self.masked and "masked" in change:
            self._check_mask(unit)

    def _check_mask(self, unit: Unit) -> None:
        if unit.name != self.name:
            raise Refused(
                f"{self.name} is another name of {unit.name}, which could still be started by its "
                "own name",
                hint=f'mask that one: name = "{unit.name}"',
            )
        if unit.fragment.startswith(_OWN_UNITS):
            raise Refused(
                f"{self.name} cannot be masked: its unit file is {unit.fragment}",
                hint="stop and disable it, or remove the file with systemd.unit",
            )

    async def apply(self, host: Host, change: Diff) -> None:
        [unit] = await _systemd.show(host, [self.name])
        if unit.needs_reload:
            await _systemd.daemon_reload(host)
        if self.masked is False and "masked" in change:
            await _unmask(host, self.name)
            [unit] = await _systemd.show(host, [self.name])
            # Only now, behind the mask, can its other properties be seen.
            change = self.diff(self._seen(unit, await _enabled(host, unit)))
        if self.enabled is not None and "enabled" in change:
            await _enable(host, self.name, self.enabled)
        if self.state is not None and "state" in change:
            await self._move(host, self.state == "started")
        if self.masked and "masked" in change:
            await _systemd.systemctl(host, "mask", "--", _systemd.full_name(self.name))

    async def _move(self, host: Host, up: bool) -> None:
        if up:
            await _systemd.bring_up(host, self.name, "start", self.timeout)
        else:
            await _systemd.stop(host, self.name, self.timeout)

    async def destroy(self, host: Host) -> None:
        """Stops or disables it, whichever is managed; the unit is not this resource's to remove."""
        managed = self.desired() or {}
        [unit] = await _systemd.show(host, [self.name])
        up = unit.is_up or unit.active in ("activating", "deactivating")
        if "state" in managed and up:
            await _systemd.stop(host, self.name, self.timeout)
        if "enabled" in managed and unit.enabled in (True, "runtime"):
            await _enable(host, self.name, False)

    async def revert(self, host: Host, origin: Origin) -> None:
        """Brings back what this declaration managed: running, enabled, masked or not."""
        before = origin.actual
        if before is None:
            return await self.destroy(host)
        [unit] = await _systemd.show(host, [self.name])
        if not unit.found:
            return None  # its package is gone: there is nothing that could be as it was
        managed = self.desired() or {}
        masked = unit.load == "masked"
        if masked and "masked" in managed and not before["masked"]:
            await _unmask(host, self.name)
        if "enabled" in managed and isinstance(before["enabled"], bool) and not before["masked"]:
            await _enable(host, self.name, before["enabled"])
        if "state" in managed and before["state"] in ("started", "stopped", "failed"):
            await self._move(host, before["state"] == "started")
        if before["masked"] and "masked" in managed:
            await _systemd.systemctl(host, "mask", "--", _systemd.full_name(self.name))
        return None


async def _enabled(host: Host, unit: Unit) -> bool | str:
    if unit.file_state == "generated" and unit.source.startswith("/etc/init.d/"):
        # Only systemctl itself knows how to ask for scripts of System V.
        asked = await _systemd.systemctl(host, "is-enabled", "--", unit.id, check=False)
        return asked.stdout.strip() == "enabled"
    return unit.enabled


async def _enable(host: Host, name: str, wanted: bool) -> None:
    full = _systemd.full_name(name)
    await _systemd.systemctl(host, "enable" if wanted else "disable", "--", full)
    [unit] = await _systemd.show(host, [name])
    if not wanted and unit.enabled == "runtime":
        await _systemd.systemctl(host, "disable", "--runtime", "--", full)


async def _unmask(host: Host, name: str) -> None:
    full = _systemd.full_name(name)
    await _systemd.systemctl(host, "unmask", "--", full)
    [unit] = await _systemd.show(host, [name])
    if unit.load == "masked":
        await _systemd.systemctl(host, "unmask", "--runtime", "--", full)
