"""Tries resources inside a booted machine, by what the engine does with one (``bench``)."""

import json
import sys
from typing import Any

from machines.machine import CHECKOUT, Machine

# One call: looks, makes it match or says why not, and with "undo" takes it back, twice, since
# undo may be repeated.
SCRIPT = """
import json, pathlib, sys, tempfile
from resources.bench import bench
from sloth_runner.core import registry, forms
from sloth_runner.core.errors import SlothError

mode, function, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
said = {}
with tempfile.TemporaryDirectory() as saved, bench(pathlib.Path(saved)) as local:
    try:
        cls, how = registry.registry().functions[function]
        resource = forms.build(
            cls, given, function=function, preset=how.preset, rename=how.rename, accepts=how.accepts
        )
        said["before"] = local.observe(resource)
        said["changes"] = local.changes(resource)
        if mode == "preview":
            said["diff"] = local.preview(resource)
        elif said["changes"] or resource.diff(said["before"]):
            origin = local.converge(resource)
        said["after"] = local.observe(resource)
        if mode == "undo":
            local.revert(resource, origin)
            local.revert(resource, origin)
            said["undone"] = local.observe(resource)
    except SlothError as error:
        said["error"] = f"{type(error).__name__}: {error.detail}"
        said["hint"] = error.hint
        said["facts"] = error.facts
print(json.dumps(said))
"""
ENVIRONMENT = {
    "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT / 'tests'}",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def inside(host: Machine, mode: str, function: str, /, **given: Any) -> dict[str, Any]:
    """Returns what was there before and after, what had to change, or the error.

    ``mode`` is "converge", "preview" (which stops before it would act) or "undo".
    """
    done = host.run(argv(mode, function, **given), env=ENVIRONMENT)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def argv(mode: str, function: str, /, **given: Any) -> list[str]:
    """Returns the command that does it, for hosts that are to be prepared around it."""
    return [sys.executable, "-c", SCRIPT, mode, function, json.dumps(given)]


def converge(host: Machine, function: str, /, **given: Any) -> dict[str, Any]:
    """Makes it match and returns what ``inside`` says; fails the test where that went wrong."""
    said = inside(host, "converge", function, **given)
    assert "error" not in said, said
    return said


def refusal(host: Machine, function: str, /, **given: Any) -> str:
    """Returns why the preview refuses it, and sees that a run refuses it in the same words."""
    previewed = inside(host, "preview", function, **given)
    assert inside(host, "converge", function, **given).get("error") == previewed["error"]
    return f"{previewed['error']} ({previewed['hint']})"
