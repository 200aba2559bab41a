"""How a user comes back: the inverse of what was done to it, from its pre-image."""

from collections.abc import Sequence
from typing import Any

from sloth_runner.core.errors import Refused, SlothError
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Origin
from sloth_runner.core.values import State
from sloth_runner.resources import _accounts, _removal, _trees
from sloth_runner.resources._accounts import Accounts
from sloth_runner.resources._text import text_of

OPTIONS = {
    "uid": "--uid",
    "group": "--gid",
    "shell": "--shell",
    "home": "-d",  # the one option whose long name differs between the two
    "comment": "--comment",
}
"""The options of useradd(8) and usermod(8) for properties whose value follows them."""


OF_NEW_UID = "of_new_uid"
"""In what is seen of a user: the inodes below the home that its new number owns already."""


async def renumber(host: Host, name: str, old: int, new: int, options: Sequence[str]) -> None:
    """Changes the number of a user, with whatever else ``options`` tell usermod(8).

    usermod hands over what the user owns below the home after the number has changed. Where
    it is killed on the way, nobody sees that the rest is still to be done; so it is done
    before, and taken back where the number cannot change.
    """
    home = (await _accounts.look(host)).users[name]["home"]
    theirs = await owned(host, home, new)
    await _hand_over(host, home, old, new)
    try:
        await _accounts.change(host, ["usermod", *options, name])
    except SlothError:
        await _hand_over(host, home, new, old, spare=theirs)
        raise


async def owned(host: Host, home: str, uid: int) -> list[int]:
    """Returns the inodes of a home and what is below that a number owns."""
    if not await _is_home(host, home):
        return []
    argv = ("find", "-P", home, "-uid", str(uid), "-printf", r"%i\n")
    found = await host.command(*argv, accept=(0, 1))  # 1: what may not be looked into
    return sorted({int(inode) for inode in found.stdout.split()})


async def _hand_over(host: Host, home: str, old: int, new: int, **which: Sequence[int]) -> None:
    if await _is_home(host, home):
        await host.ask("hand_over", path=home, old=old, new=new, **which)


async def _is_home(host: Host, home: str) -> bool:
    if not home.startswith("/") or home in _removal.SYSTEM:
        return False
    stat = await host.stat(home)
    return stat is not None and stat.kind == "directory"


async def bring_back(host: Host, user: Any, origin: Origin) -> None:
    """Gives a user its old properties, making it again where it is gone."""
    before: State = origin.actual or {}
    accounts = await _accounts.look(host)
    if user.name not in accounts.users:
        await _make_again(host, user.name, before, accounts)
    else:
        await _modify_back(host, user, before, accounts)
    await _secret_back(host, user, origin)
    home = before.get("home", "")
    if user.state == "absent" and user.remove_home and origin.saved.get(home) is not None:
        there = await host.stat(home)
        if there is not None and (there.kind, there.uid) != ("directory", before["uid"]):
            raise Refused(f"{home} is there again, so the old one is not put back over it")
        attributes = {"mode": "0700", "owner": str(before["uid"]), "group": str(before["gid"])}
        await _trees.put_back(host, home, origin, attributes, whole=True)


async def _make_again(host: Host, name: str, before: State, accounts: Accounts) -> None:
    group = before["group"]
    if not accounts.has_group(group):
        number = str(before.get("gid", group))
        named = name if group == number else group
        await _accounts.change(host, ["groupadd", "--gid", number, named])
    options = [word for key, option in OPTIONS.items() for word in (option, str(before[key]))]
    groups = [group for group in before["groups"] if group in accounts.groups]
    if groups:
        options += ["--groups", ",".join(groups)]
    await _accounts.change(host, ["useradd", *options, "--no-create-home", name])


async def _modify_back(host: Host, user: Any, before: State, accounts: Accounts) -> None:
    managed = (user.desired() or before).keys()
    now = user._seen(accounts) or {}
    options = [
        word
        for key, option in OPTIONS.items()
        if key in managed and before[key] != now.get(key)
        for word in (option, str(before[key]))
    ]
    if "groups" in managed and before["groups"] != now.get("groups"):
        kept = accounts.groups_of(user.name)
        if user.append:
            # Only what this declaration added goes; the others were never its business.
            wanted = {g for g in kept if g not in user.groups} | set(before["groups"])
        else:
            wanted = set(before["groups"])
        options += ["--groups", ",".join(sorted(g for g in wanted if g in accounts.groups))]
    if options:
        await _accounts.change(host, ["usermod", *options, user.name])
    theirs = before.get(OF_NEW_UID)
    if theirs and "uid" in managed:  # usermod takes all that the number owns
        await _hand_over(host, before["home"], before["uid"], user.uid, only=theirs)


async def _secret_back(host: Host, user: Any, origin: Origin) -> None:
    saved = origin.saved.get(_accounts.SHADOW)
    if saved is not None:
        secrets = _accounts.parse_shadow(await text_of(host, saved))
        if user.name in secrets:
            await _accounts.set_secret(host, user.name, secrets[user.name])
    elif user.locked is not None and origin.actual is not None:
        lock = "--lock" if origin.actual["locked"] else "--unlock"
        await _accounts.change(host, ["usermod", lock, user.name])
