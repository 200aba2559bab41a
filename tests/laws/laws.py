"""The laws of a resource type, tried with one of its samples on the machine at hand.

They know what ``core.resource`` promises and nothing of any type. What happened is looked
at with ``world``, which asks the system and not our code. Run as a program, on a machine:
``python -m laws.laws TYPE`` tries every sample of a type and prints what each law found.
"""

import asyncio
import contextlib
import difflib
import functools
import http.server
import json
import pprint
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from laws.disturb import disturbances
from resources.bench import Bench, bench, snapshot
from sloth_runner.core import forms, schema, values
from sloth_runner.core.errors import HostError, Refused
from sloth_runner.core.host import LOOKING, ActingHost, Command, CommandResult, Request
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Origin, Resource

SITE = "http://sloth-sample.example"
"""Where samples say that a web site is: it offers what is in their folder ``served``."""
SAMPLES = "/tmp/sloth-sample"
"""Where samples say that their files are; a trial has them in a folder of its own."""

SYSTEM = """
for base in passwd group shadow gshadow; do getent $base; done
dpkg-query -W -f '${Package} ${Version} ${Status}\\n' | grep -v not-installed
apt-mark showhold
find /etc/apt /etc/systemd/system /usr/local -exec stat -c '%A %U %G %n' {} + | sort
find /etc/apt /etc/systemd/system /etc/sloth* -type f -exec sha256sum {} + 2>/dev/null | sort
systemctl show cron.service sloth-nap.service sloth-gone.timer --property ActiveState,UnitFileState
"""


def of_files(cls: type[Resource]) -> bool:
    """Whether the samples of a type need nothing but files of their own."""
    return all(SAMPLES in json.dumps(sample) for sample in cls.samples)


class Case:
    """One sample of one type, on a machine as it is to be before anything is done."""

    def __init__(
        self,
        cls: type[Resource],
        sample: Mapping[str, Any],
        local: Bench,
        place: Path,
        site: str,
    ) -> None:
        given = _placed(sample, place, site)
        self.resource: Resource = forms.build(cls, given, function=cls.type)
        self.local = local
        self._place = place
        self._first: Origin | None = None
        self._system = not of_files(cls)
        if self._system:  # trials start units more often than a machine allows
            subprocess.run(["systemctl", "reset-failed"], check=True)
        place.mkdir(mode=0o755)
        for name, content in _placed(cls.sample_files, place, site).items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(values.raw(content))
            path.chmod(0o644)

    def world(self) -> object:
        """Everything that a sample may touch, as the system tells it."""
        files = snapshot(self._place)
        if not self._system:
            return files
        told = subprocess.run(["sh", "-c", SYSTEM], capture_output=True, text=True)
        return files, told.stdout.splitlines()

    def differing(self, resource: Resource | None = None) -> list[str]:
        """The properties that a run would change now; "presence" where the thing is not there."""
        resource = resource or self.resource
        change = resource.diff(self.local.observe(resource))
        if change.kind in ("create", "remove"):
            return ["presence"]
        return sorted(item.property for item in change.changes)

    def converge(self) -> Origin:
        """Makes it match, as a run does; returns what was there before."""
        origin = self.local.converge(self.resource)
        self._first = self._first or origin
        return origin

    def clean(self) -> None:
        """Leaves a machine that is tried again as it was; files are thrown away anyhow."""
        if self._first is not None and not of_files(type(self.resource)):
            self.local.revert(self.resource, self._first)

    def from_row(self) -> Resource:
        """The same resource, from nothing but what a row keeps of it."""
        kept = values.decode(values.encode(schema.given_params(self.resource)))
        for name, value in kept.items():
            if isinstance(value, dict) and "$content" in value:
                kept[name] = schema.Content(**value["$content"])
        rebuilt: Resource = forms.build(type(self.resource), kept, function=self.resource.type)
        return rebuilt


def _placed(value: Any, place: Path, site: str) -> Any:
    """Returns a sample, or its files, with the folder and the web site of this trial."""
    if isinstance(value, str):
        return value.replace(SITE, site).replace(SAMPLES, str(place))
    if isinstance(value, Mapping):
        return {
            _placed(key, place, site): _placed(item, place, site) for key, item in value.items()
        }
    return value


def same(before: object, now: object) -> None:
    """Fails with what is different."""
    if before != now:
        old, new = (pprint.pformat(world).splitlines() for world in (before, now))
        raise AssertionError("\n".join(difflib.unified_diff(old, new, "before", "now", n=0)))


def a_preview_touches_nothing(case: Case) -> None:
    before = case.world()
    case.local.preview(case.resource)
    same(before, case.world())


def what_was_applied_is_seen_and_a_second_run_has_nothing_to_do(case: Case) -> None:
    case.converge()
    assert case.differing() == []
    after = case.world()
    case.local.preview(case.resource)
    assert case.differing() == []
    same(after, case.world())


def what_is_observed_is_canonical_and_says_all_that_is_desired(case: Case) -> None:
    case.converge()
    seen, desired = case.local.observe(case.resource), case.resource.desired()
    assert seen == values.canonical(seen)
    assert seen == values.decode(values.encode(seen))
    if desired is not None and seen is not None:
        assert set(desired) <= set(seen)


def a_disturbed_property_is_named_and_repaired(case: Case) -> None:
    case.converge()
    for name, disturb in disturbances(case.resource):
        disturb()
        assert case.differing() == [name], f"after {name} was disturbed"
        case.converge()
        assert case.differing() == [], f"after {name} was repaired"


def a_row_is_enough_to_build_and_to_destroy(case: Case) -> None:
    before = case.world()
    rebuilt = case.from_row()
    assert rebuilt == case.resource
    assert rebuilt.name == case.resource.name
    origin = case.converge()
    assert case.differing(rebuilt) == []
    case.local.destroy(rebuilt)
    once = case.world()
    case.local.destroy(rebuilt)
    same(once, case.world())
    if not of_files(type(rebuilt)):  # a line that was removed is a conflict for an undo
        case.local.revert(rebuilt, origin)
        same(before, case.world())


def undo_brings_back_what_was_there_and_may_be_repeated(case: Case) -> None:
    before = case.world()
    origin = case.converge()
    case.local.revert(case.from_row(), origin)
    same(before, case.world())
    with contextlib.suppress(Refused):  # "it is there again" is a good answer too
        case.local.revert(case.resource, origin)
    same(before, case.world())


def a_failure_at_any_step_is_repaired_by_the_next_run(case: Case) -> None:
    origin = case.converge()
    case.local.revert(case.resource, origin)
    for step in range(1, 30):
        failed = asyncio.run(_apply_failing_at(case, step))
        case.converge()
        assert case.differing() == [], f"after a failure at step {step}"
        case.local.revert(case.resource, origin)
        if not failed:
            return
    raise AssertionError("it has no end")


LAWS: Sequence[Callable[[Case], None]] = (
    a_preview_touches_nothing,
    what_was_applied_is_seen_and_a_second_run_has_nothing_to_do,
    what_is_observed_is_canonical_and_says_all_that_is_desired,
    a_disturbed_property_is_named_and_repaired,
    a_row_is_enough_to_build_and_to_destroy,
    undo_brings_back_what_was_there_and_may_be_repeated,
    a_failure_at_any_step_is_repaired_by_the_next_run,
)


class _Failing(ActingHost):
    """A host that fails at one acting step; ``done`` says that it got so far."""

    def __init__(self, inner: Any, step: int) -> None:
        super().__init__(inner, on_started=lambda _: None, on_output=lambda _, __: None)
        self._left = step
        self.done = False

    def _act(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.done = True
            raise HostError("the host failed here", errno_name="EIO")

    async def perform(self, requests: Sequence[Request]) -> list[Any]:
        if any(request.verb not in LOOKING for request in requests):
            self._act()
        return await super().perform(requests)

    async def run(self, command: Command, **watched: Any) -> CommandResult:
        self._act()
        return await super().run(command, **watched)


async def _apply_failing_at(case: Case, step: int) -> bool:
    """Applies on a host that fails at a step; answers whether there was such a step."""
    resource, host = case.resource, _Failing(case.local.host, step)
    change = resource.diff(await resource.observe(case.local.host))
    if not change:
        return False
    with contextlib.suppress(HostError):
        await type(resource).apply_many(host, [(resource, change)])
    return host.done


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Offers a folder, which may yet have to be made, on a web site of this trial."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing."""


def report(type_name: str) -> dict[str, str]:
    """Returns what each law found, by sample and law; an empty text where it holds."""
    cls = registry().types[type_name]
    found = {}
    for number, sample in enumerate(cls.samples):
        for law in LAWS:
            found[f"{number} {law.__name__}"] = tried(cls, sample, law)
    return found


def tried(cls: type[Resource], sample: Mapping[str, Any], law: Callable[[Case], None]) -> str:
    """Returns why a law does not hold for a sample; an empty text where it does."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "saved")
        saved.mkdir()
        place = Path(folder, "sample")
        with bench(saved) as local, _served(place / "served") as site:
            case = Case(cls, sample, local, place, site)
            try:
                law(case)
                case.clean()
            except Exception:
                with contextlib.suppress(Exception):
                    case.clean()
                return traceback.format_exc()
    return ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report(sys.argv[1])))
