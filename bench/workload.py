"""The work: files, lines, packages, users and units, as a workflow and as a list for the floor."""

import json
from dataclasses import dataclass

from bench.places import Place

PACKAGES = (
    *("apt", "base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "debconf"),
    *("debianutils", "diffutils", "dpkg", "findutils", "grep", "gzip", "hostname", "libc-bin"),
    *("login", "perl-base", "sed", "tar"),
)
"""Twenty packages that every Debian machine has."""

_WORKFLOW = """\
for i = 1, {files} do
    file_ops.content({{
        path = string.format("{folder}/files/%05d.conf", i),
        content = string.format("{content}", i),
        mode = "0644",
    }})
end
for i = 1, {lines} do
    file_ops.lineinfile({{
        path = "{folder}/lines/" .. i % 5,
        regexp = string.format("^key%02d=", i),
        line = string.format("key%02d=value", i),
        create = true,
    }})
end
"""
_BESIDE = """\
pkg.install({{ names = {{ {packages} }} }})
for i = 0, 9 do
    user.create({{ name = "bench" .. i, shell = "/bin/sh" }})
    systemd.ensure({{ name = "bench" .. i .. ".service", state = "started", enabled = true }})
end
"""
_UNIT = """\
[Unit]
Description=Bench {number}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""
_CONTENT = "# file %05d\\n" + "setting = a value of some length\\n" * 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """``files`` files of 210 bytes and ``lines`` lines in five files; with ``system``, the rest.

    The rest is 20 packages, 10 users and 10 units; only a booted machine has units.
    """

    files: int
    lines: int = 50
    system: bool = True

    def prepare(self, place: Place) -> tuple[str, str]:
        """Writes the workflow and the floor's manifest; returns their paths."""
        folder = place.folder
        workflow, manifest = f"{folder}/bench{self.files}.lua", f"{folder}/bench{self.files}.json"
        text = _WORKFLOW.format(files=self.files, lines=self.lines, folder=folder, content=_CONTENT)
        if self.system:
            text += _BESIDE.format(packages=", ".join(f'"{name}"' for name in PACKAGES))
            for i in range(10):
                place.write(f"/etc/systemd/system/bench{i}.service", _UNIT.format(number=i))
            place.run(["systemctl", "daemon-reload"])
        place.write(workflow, text)
        place.write(manifest, json.dumps(self._manifest(folder)))
        for part in ("files", "lines"):
            place.write(f"{folder}/{part}/.made", "")
        return workflow, manifest

    def _manifest(self, folder: str) -> dict[str, object]:
        plain = _CONTENT.replace("\\n", "\n")
        numbers = range(10 if self.system else 0)
        return {
            "files": {f"{folder}/files/{i:05d}.conf": plain % i for i in range(1, self.files + 1)},
            "edited": [f"{folder}/lines/{i}" for i in range(min(5, self.lines))],
            "packages": list(PACKAGES) if self.system else [],
            "users": [f"bench{i}" for i in numbers],
            "units": [f"bench{i}.service" for i in numbers],
        }
