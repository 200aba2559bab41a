"""What was there before comes back: packages, holds and repositories on a real host."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import CHECKOUT, Machine

# Makes a resource match inside the host and then takes that back, twice: undo may be repeated.
SCRIPT = """
import json, pathlib, sys, tempfile
from resources.bench import bench
from sloth_runner.core import registry, forms

function, given = sys.argv[1], json.loads(sys.argv[2])
cls, how = registry.registry().functions[function]
resource = forms.build(cls, given, function=function, preset=how.preset)
with tempfile.TemporaryDirectory() as saved, bench(pathlib.Path(saved)) as local:
    origin = local.converge(resource)
    print(json.dumps(local.observe(resource)))
    local.revert(resource, origin)
    local.revert(resource, origin)
    assert local.observe(resource) == origin.actual, local.observe(resource)
"""
SOURCE = {"uris": ["file:/opt/repo"], "suites": ["./"], "trusted": True}
BEFORE = "Types: deb\nURIs: file:/opt/repo\nSuites: ./\nTrusted: yes\nLanguages: none\n"


@pytest.fixture(scope="module")
def host(machine_image: Path) -> Iterator[Machine]:
    """A host with packages in older versions, one on hold, and one that left its configuration."""
    with Machine(machine_image) as machine:
        machine.sh("apt-get -qy install hello=2.10-3 sloth-pin=1.0-1 sloth-conf tree")
        machine.sh("apt-get -qy remove sloth-conf; apt-mark hold tree")
        machine.write("/etc/apt/sources.list.d/kept.sources", BEFORE)
        yield machine


def facts(host: Machine) -> str:
    """Returns everything that dpkg, the holds and the sources say."""
    return host.sh(
        "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' | grep -v not-installed; "
        "apt-mark showhold; find /etc/apt -type f -exec sha256sum {} + | sort; "
        "stat -c '%a %n' /etc/apt/sources.list.d/*"
    ).stdout


def there_and_back(host: Machine, function: str, given: dict[str, Any]) -> Any:
    """Returns the state that was reached before it was taken back."""
    return json.loads(
        host.run(
            [sys.executable, "-c", SCRIPT, function, json.dumps(given)],
            env={"PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT / 'tests'}"},
        ).stdout
    )


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("pkg.install", {"name": "jq"}),
        ("pkg.install", {"name": "sloth-pin", "version": "1.1"}),
        ("pkg.latest", {"name": "hello"}),
        ("pkg.remove", {"name": "hello"}),
        ("pkg.install", {"name": "sloth-conf"}),
        ("pkg.hold", {"name": "hello"}),
        ("pkg.hold", {"name": "tree", "state": "absent"}),
        ("pkg.repository", {"name": "new", **SOURCE}),
        ("pkg.repository", {"name": "kept", **SOURCE, "architectures": ["all", "amd64"]}),
        ("pkg.repository", {"name": "kept", "state": "absent"}),
    ],
)
def test_what_was_there_before_comes_back(
    host: Machine, function: str, given: dict[str, Any]
) -> None:
    before = facts(host)
    there_and_back(host, function, given)
    # jq leaves its dependencies, as every removal does.
    host.sh("apt-get -qy --purge autoremove")
    assert facts(host) == before


def test_a_host_without_dpkg_is_named_as_not_supported_yet(host: Machine) -> None:
    script = """
import pathlib, sys
from resources.bench import bench
from sloth_runner.core.errors import TaskError
from sloth_runner.resources.package import Package

with bench(pathlib.Path("/nowhere")) as local:
    try:
        local.observe(Package(name="hello"))
    except TaskError as error:
        print(error.detail)
"""
    said = host.sh(
        'cd /usr/bin && mv dpkg-query kept; "$1" -c "$2"; mv kept dpkg-query',
        sys.executable,
        script,
        env={"PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT / 'tests'}"},
    ).stdout
    assert said == "packages on local (debian) are not supported yet\n"
