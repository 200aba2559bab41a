"""``group``: a group of users."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused, SlothError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Function, Origin, Resource, declare
from sloth_runner.core.schema import Doc
from sloth_runner.core.values import State, Value
from sloth_runner.resources import _accounts
from sloth_runner.resources._accounts import Accounts


@declare(
    "group",
    Function(
        name="group.create",
        doc="Keeps a group, with the given number or with any.",
        accepts=("name", "gid", "system"),
        each="names",
    ),
    Function(
        name="group.remove",
        doc="Keeps a group away; files that belong to it keep its number.",
        preset={"state": "absent"},
        accepts=("name",),
        each="names",
    ),
)
class Group(Resource, frozen=True, kw_only=True):
    """Keeps a group of /etc/group, or keeps it away.

    Who is in it is said by the users (``user.create{groups = ...}``). Files that belonged
    to it keep the old number when the number changes. The primary group of a user is not
    removed.

    ```lua
    group.create({ name = "sloths", gid = 4200 })
    ```
    """

    name: Annotated[str, Doc("The name of the group.", key=True)]
    gid: Annotated[int | None, Doc("Its number.")] = None
    system: Annotated[
        bool, Doc("When it is made: give it a number of the range for the system.")
    ] = False
    state: Annotated[Literal["present", "absent"], Doc("Whether it is there.")] = "present"

    samples: ClassVar[tuple[Mapping[str, Value], ...]] = (
        {"name": "sloth-group", "gid": 4200},
        {"name": "sloth-system", "system": True},
        {"name": "operator", "state": "absent"},
    )

    def check(self) -> None:
        """Refuses what cannot be a name or a number, before any host is asked."""
        _accounts.check_name(self.name, "group")
        if self.gid is not None and not 0 <= self.gid < 2**32 - 1:
            raise ParamError(f"parameter 'gid': {self.gid} is not the number of a group")

    @property
    def exclusive(self) -> str:
        return _accounts.EXCLUSIVE

    @property
    def takes(self) -> str | None:
        return None if self.gid is None else f"gid {self.gid}"

    @property
    def observation_key(self) -> Hashable:
        return (self.name, self.state)

    def desired(self) -> State | None:
        if self.state == "absent":
            return None
        return {"name": self.name} | ({} if self.gid is None else {"gid": self.gid})

    async def observe(self, host: Host) -> State | None:
        [answer] = await self.observe_many(host, [self])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @classmethod
    async def observe_many(
        cls, host: Host, resources: Sequence[Any]
    ) -> list[State | Exception | None]:
        """Reads the accounts once for all of them."""
        accounts = await _accounts.look(host)
        return [group._seen(accounts) for group in resources]

    def _seen(self, accounts: Accounts) -> State | None:
        found = accounts.groups.get(self.name)
        if found is None:
            return None
        # Who is in it matters only where it will be removed and may have to come back.
        members = {"members": found["members"]} if self.state == "absent" else {}
        return {"name": self.name, "gid": found["gid"], **members}

    def plan_check(self, actual: State | None) -> None:
        goes = self.state == "absent" or self.gid not in (None, 0)
        if goes and actual is not None and actual.get("gid") == 0:
            raise Refused(f"{self.name} is the group of root")

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        [refusal] = await self.preview_check_many(host, [(self, actual, change)])
        if refusal is not None:
            raise refusal

    @classmethod
    async def preview_check_many(
        cls, host: Host, work: Sequence[tuple[Any, State | None, Diff]]
    ) -> list[Exception | None]:
        """Refuses numbers that are taken, and to remove the primary group of somebody."""
        accounts = await _accounts.look(host)
        answers: list[Exception | None] = []
        for group, seen, change in work:
            try:
                group._check_against(accounts, seen, change)
                if change.kind == "create" and await _accounts.is_foreign(
                    host, "group", group.name
                ):
                    raise Refused(
                        f"{group.name} is not in /etc/group of {host.name} and is known all the "
                        "same, for example from a directory service",
                        hint="manage it there, or choose another name",
                    )
                answers.append(None)
            except SlothError as refusal:
                answers.append(refusal)
        return answers

    def _check_against(self, accounts: Accounts, seen: State | None, change: Diff) -> None:
        if change.kind == "remove" and seen is not None:
            users = accounts.users_of(seen["gid"])
            if users:
                raise Refused(
                    f"{self.name} is the primary group of {', '.join(users)}",
                    hint="remove the users first, or give them another group",
                )
        if self.gid is not None and change.kind != "remove":
            holder = accounts.group_name(self.gid)
            if holder not in (self.name, str(self.gid)):
                raise Refused(f"gid {self.gid} belongs to the group {holder}")

    async def apply(self, host: Host, change: Diff) -> None:
        number = [] if self.gid is None else ["--gid", str(self.gid)]
        if change.kind == "create":
            system = ["--system"] if self.system else []
            await _accounts.change(host, ["groupadd", *system, *number, self.name])
        else:
            await _accounts.change(host, ["groupmod", *number, self.name])

    async def destroy(self, host: Host) -> None:
        """Removes it; 6 is groupdel's way to say that it is not there."""
        await _accounts.change(host, ["groupdel", self.name], done=(0, 6))

    async def revert(self, host: Host, origin: Origin) -> None:
        """Brings back the number and, where the group was removed, its members."""
        before = origin.actual
        if before is None:
            return await self.destroy(host)
        accounts = await _accounts.look(host)
        now, number = accounts.groups.get(self.name), ["--gid", str(before["gid"])]
        if now is None:
            await _accounts.change(host, ["groupadd", *number, self.name])
        elif now["gid"] != before["gid"]:
            await _accounts.change(host, ["groupmod", *number, self.name])
        members = [name for name in before.get("members", ()) if name in accounts.users]
        if now is None and members:
            await _accounts.change(host, ["gpasswd", "--members", ",".join(members), self.name])
        return None
