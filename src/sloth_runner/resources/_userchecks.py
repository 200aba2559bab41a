"""What useradd(8) and its like would refuse, found before anything is changed."""

from collections.abc import Sequence
from typing import Any

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import Refused, SlothError, TaskError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Checked
from sloth_runner.core.values import State
from sloth_runner.resources import _accounts, _removal
from sloth_runner.resources._accounts import Accounts


async def checked(host: Host, work: Sequence[tuple[Any, State | None, Diff]]) -> list[Checked]:
    """Returns of each change of a user what it is refused for, or what it does beside."""
    accounts = await _accounts.look(host)
    answers: list[Checked] = []
    for user, seen, change in work:
        try:
            if change.kind == "create":
                await _check_new(host, user)
            elif change.kind == "remove" and user.remove_home:
                await _check_home(host, user, seen, accounts)
            if change.kind != "remove":
                _check_against(user, accounts)
            answers.append(await _aside(host, user, seen, change, accounts))
        except SlothError as refusal:
            answers.append(refusal)
    return answers


async def _check_new(host: Host, user: Any) -> None:
    if await _accounts.is_foreign(host, "passwd", user.name):
        raise Refused(
            f"{user.name} is not in /etc/passwd of {host.name} and is known all the same, "
            "for example from a directory service",
            hint="manage it there, or choose another name",
        )
    if user.must_exist:
        raise TaskError(
            f"{user.name} does not exist on {host.name}", hint="user.create makes a user"
        )


async def _check_home(host: Host, user: Any, seen: State | None, accounts: Accounts) -> None:
    """Raises Refused where more than the home of this user would go."""
    stat = None if seen is None else await host.stat(seen["home"])
    if stat is None or seen is None:
        return
    home = seen["home"].rstrip("/")
    await _removal.check_no_mounts(host, home)
    for other, theirs in accounts.users.items():
        if other != user.name and f"{theirs['home']}/".startswith(f"{home}/"):
            raise Refused(
                f"{theirs['home']} is the home of {other} too, so it is not removed",
                hint="leave remove_home out",
            )
    if stat.kind == "directory" and stat.uid == seen["uid"]:
        return
    raise Refused(
        f"the home of {user.name}, {seen['home']}, is not a directory of that user, so it is "
        "not removed with it",
        hint="leave remove_home out",
        facts={"kind": stat.kind, "owner": stat.owner},
    )


async def _aside(
    host: Host, user: Any, seen: State | None, change: Diff, accounts: Accounts
) -> str | None:
    """Returns what userdel(8) removes beside the user: its own group, and what was asked."""
    if change.kind != "remove" or seen is None:
        return None
    group = accounts.groups.get(user.name, {"gid": None, "members": ()})
    own = accounts.users_of(group["gid"]) == [user.name] and not group["members"]
    told = [f"its group {user.name}"] if own else []
    if user.remove_home and await host.stat(seen["home"]) is not None:
        told.append(f"its home {seen['home']}")
    return f"also removes {' and '.join(told)}" if told else None


def _check_against(user: Any, accounts: Accounts) -> None:
    wanted = [group for group in (user.group, *(user.groups or ())) if group is not None]
    missing = [group for group in wanted if not accounts.has_group(group)]
    if missing:
        raise TaskError(
            f"there is no group {', '.join(missing)} for {user.name}",
            hint="group.create makes one",
        )
    for other, theirs in accounts.users.items():
        if theirs["uid"] == user.uid and other != user.name:
            raise Refused(f"uid {user.uid} belongs to the user {other}")
