"""How a user comes back: the inverse of what was done to it, from its pre-image."""

from typing import Any

from sloth_runner.core.errors import Refused
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Origin
from sloth_runner.core.values import State
from sloth_runner.resources import _accounts, _homes, _trees
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
    theirs = before.get(_homes.OF_NEW_UID)
    if theirs and "uid" in managed:  # usermod takes all that the number owns
        await _homes.hand_over(host, before["home"], before["uid"], user.uid, only=theirs)


async def _secret_back(host: Host, user: Any, origin: Origin) -> None:
    saved = origin.saved.get(_accounts.SHADOW)
    if saved is not None:
        secrets = _accounts.parse_shadow(await text_of(host, saved))
        if user.name in secrets:
            await _accounts.set_secret(host, user.name, secrets[user.name])
    elif user.locked is not None and origin.actual is not None:
        lock = "--lock" if origin.actual["locked"] else "--unlock"
        await _accounts.change(host, ["usermod", lock, user.name])
