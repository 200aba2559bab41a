"""The same work done by other tools, beside ours: no change, one host, run by run in turn.

They are not ours to install: ``--peers FOLDER`` names a virtual environment below the
checkout, for example one made with ``pip install salt pyinfra ansible-core``. A tool that is
not in it is left out. Ansible needs most of a second for each file, so that a large
workload is not for it: ``SLOW`` says from where on.
"""

import json
from collections.abc import Mapping, Sequence

from bench.places import SLOTH, Argv, Place, measure
from bench.table import COST_HEAD, costs, ratio, show
from bench.workload import Workload

SLOW = {"ansible": 200}
"""Tools that are measured only up to so many files."""


def run(place: Place, sizes: Sequence[int], rounds: int, folder: str) -> None:
    """Converges the place with our tool, lets each peer find it converged, and measures all."""
    for size in sizes:
        work = Workload(files=size)
        workflow, manifest = work.prepare(place)
        db = f"{place.folder}/peers-{size}/stacks.db"
        ours = [SLOTH, "run", "bench", "-f", workflow, "--yes", "-q", "--db", db]
        commands = {"ours": ours, **_peers(place, folder, size, manifest)}
        for command in commands.values():
            for _ in range(2):
                place.run(command)
        place.run(["sleep", "2.1"])
        place.run(ours)
        cost = measure(place, commands, rounds=rounds, warmup=0)
        rows = [
            [name, ratio(each.wall, cost["ours"].wall), *costs(each)] for name, each in cost.items()
        ]
        show(f"Peers, no change, {size:,} files", ("tool", "x ours, wall", *COST_HEAD), rows)


def _peers(place: Place, folder: str, size: int, manifest: str) -> Mapping[str, Argv]:
    data = json.loads(place.run(["cat", manifest]))
    there = place.run(["ls", f"{folder}/bin"]).split()
    found: dict[str, Argv] = {}
    if "salt-call" in there:
        found["salt"] = _salt(place, folder, data)
    if "pyinfra" in there:
        found["pyinfra"] = _pyinfra(place, folder, data)
    if "ansible-playbook" in there:
        found["ansible"] = _ansible(place, folder, data)
    return {name: argv for name, argv in found.items() if size <= SLOW.get(name, size)}


def _lines(data: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str]]:
    """Returns the fifty lines as path, pattern and line, as the workflow has them."""
    edited = data["edited"]
    return [(edited[i % len(edited)], f"^key{i:02d}=", f"key{i:02d}=value") for i in range(1, 51)]


def _salt(place: Place, folder: str, data: Mapping[str, Sequence[str]]) -> Argv:
    root = f"{place.folder}/salt"
    states: dict[str, object] = {}
    for path, content in dict(data["files"]).items():
        options = [{"name": path}, {"contents": content}, {"mode": "0644"}]
        states[f"file {path}"] = {"file.managed": options}
    for path, pattern, line in _lines(data):
        options = [{"name": path}, {"pattern": f"{pattern}.*"}, {"repl": line}]
        options.append({"append_if_not_found": True})
        states[f"line {line}"] = {"file.replace": options}
    states["packages"] = {"pkg.installed": [{"pkgs": list(data["packages"])}]}
    for user in data["users"]:
        states[f"user {user}"] = {"user.present": [{"name": user}, {"shell": "/bin/sh"}]}
    for unit in data["units"]:
        states[f"unit {unit}"] = {"service.running": [{"name": unit}, {"enable": True}]}
    place.write(f"{root}/states/bench.sls", "#!json\n" + json.dumps(states))
    config = {"file_client": "local", "root_dir": root, "file_roots": {"base": [f"{root}/states"]}}
    place.write(f"{root}/minion", json.dumps(config))
    return (
        *(f"{folder}/bin/salt-call", "--local", "--config-dir", root, "--retcode-passthrough"),
        *("--log-level", "quiet", "--state-output", "changes", "state.apply", "bench"),
    )


def _pyinfra(place: Place, folder: str, data: Mapping[str, Sequence[str]]) -> Argv:
    deploy = f"{place.folder}/pyinfra/deploy.py"
    place.write(
        deploy,
        "import io, json\n"
        "from pyinfra.operations import apt, files, server, systemd\n"
        f"data = json.loads({json.dumps(json.dumps(dict(data)))})\n"
        f"lines = json.loads({json.dumps(json.dumps(_lines(data)))})\n"
        "for path, content in data['files'].items():\n"
        "    files.put(src=io.StringIO(content), dest=path, mode='644')\n"
        "for path, pattern, line in lines:\n"
        "    files.line(path=path, line=pattern + '.*', replace=line)\n"
        "apt.packages(packages=data['packages'])\n"
        "for user in data['users']:\n"
        "    server.user(user=user, shell='/bin/sh')\n"
        "for unit in data['units']:\n"
        "    systemd.service(service=unit, running=True, enabled=True)\n",
    )
    return (f"{folder}/bin/pyinfra", "-y", "@local", deploy)


def _ansible(place: Place, folder: str, data: Mapping[str, Sequence[str]]) -> Argv:
    tasks: list[object] = [
        {
            "ansible.builtin.copy": {
                "dest": "{{ item.key }}",
                "content": "{{ item.value }}",
                "mode": "0644",
            },
            "loop": "{{ files | dict2items }}",
        },
        {
            "ansible.builtin.lineinfile": {
                "path": "{{ item.0 }}",
                "regexp": "{{ item.1 }}",
                "line": "{{ item.2 }}",
            },
            "loop": _lines(data),
        },
        {"ansible.builtin.apt": {"name": data["packages"]}},
        {
            "ansible.builtin.user": {"name": "{{ item }}", "shell": "/bin/sh"},
            "loop": data["users"],
        },
        {
            "ansible.builtin.systemd_service": {
                "name": "{{ item }}",
                "state": "started",
                "enabled": True,
            },
            "loop": data["units"],
        },
    ]
    play = {"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"files": data["files"], "ansible_python_interpreter": "/usr/bin/python3"}
    path = f"{place.folder}/ansible/play.json"
    place.write(path, json.dumps([play]))
    return (f"{folder}/bin/ansible-playbook", "-i", "localhost,", path)
