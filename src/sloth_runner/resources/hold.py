"""``hold``: keeps a package as it is, whatever upgrades come along."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, SlothError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Doc, Seconds
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _aptget, _dpkg
from sloth_runner.resources._transaction import Answers, only


@declare(
    "hold",
    Function(
        name="pkg.hold",
        doc="Sets packages on hold, or takes them off: a package on hold is not changed.",
        each="names",
    ),
)
class Hold(Resource, frozen=True, kw_only=True):
    """Whether a package is on hold (apt-mark(8)).

    It need not be installed: what is not is then kept away. A package that is to be there and
    on hold is installed before, or with `allow_held`.
    """

    name: Annotated[str, Doc('The package, for example "nginx".', key=True)]
    state: Annotated[
        Literal["present", "absent"], Doc('"present": on hold; "absent": free to change.')
    ] = "present"
    lock_timeout: Annotated[
        Seconds, Doc("How long to wait while others use the package system.")
    ] = _aptget.LOCK_TIMEOUT

    has_aliases: ClassVar[bool] = True
    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"name": "hello"},
        {"name": "hello", "state": "absent"},
    )

    def check(self) -> None:
        """Refuses what cannot be a package, before any host is asked."""
        if not _dpkg.is_package_name(self.name):
            raise ParamError(f"{self.name!r} is not a package name")

    @property
    def exclusive(self) -> str:
        return _aptget.EXCLUSIVE

    @property
    def keeps(self) -> str:
        return "package"

    @property
    def observation_key(self) -> str:
        return self.name

    def desired(self) -> State | None:
        return {"held": True} if self.state == "present" else None

    async def observe(self, host: Host) -> State | None:
        return await only(self.observe_many(host, [self]))

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence["Hold"]
    ) -> list[State | Exception | None]:
        """Asks dpkg once for all of them."""
        database = await _aptget.query(host, (hold.name for hold in resources))
        found = [database.find(hold.name) for hold in resources]
        return [{"held": True} if entry and entry.held else None for entry in found]

    @classmethod
    async def known_as(
        cls, host: Host, seen: Sequence[tuple["Hold", State | None]]
    ) -> Sequence[str]:
        return await _aptget.known_as(host, [hold.name for hold, _ in seen])

    async def apply(self, host: Host, change: Diff) -> None:
        await only(self.apply_many(host, [(self, change)]))

    async def destroy(self, host: Host) -> None:
        await only(self.apply_many(host, [(self, Diff("remove"))]))

    async def revert(self, host: Host, origin: Origin) -> None:
        kind: Literal["remove", "create"] = "remove" if origin.actual is None else "create"
        await only(self.apply_many(host, [(self, Diff(kind))]))

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        await only(self.preview_check_many(host, [(self, actual, change)]))

    @classmethod
    async def preview_check_many(
        cls, host: Host, work: Sequence[tuple["Hold", State | None, Diff]]
    ) -> Answers:
        """Refuses names that neither the host nor its index knows."""
        names = {hold.name for hold, _, change in work if change.kind != "remove"}
        offered = await _aptget.policies(host, names)
        return [
            await _aptget.missing(host, hold.name, None)
            if hold.name in names and hold.name not in offered
            else None
            for hold, _, _ in work
        ]

    @classmethod
    async def apply_many(cls, host: Host, work: Sequence[tuple["Hold", Diff]]) -> Answers:
        """Marks all of them with one command for each direction."""
        answers: dict[str, Exception | None] = {}
        for verb, removal in (("unhold", True), ("hold", False)):
            holds = [hold for hold, change in work if (change.kind == "remove") is removal]
            if holds:
                timeout = max(hold.lock_timeout for hold in holds)
                names = [hold.name for hold in holds]
                try:
                    await _aptget.mark(host, verb, names, timeout)
                except SlothError as error:
                    answers.update(dict.fromkeys(names, error))
        return [answers.get(hold.name) for hold, _ in work]
