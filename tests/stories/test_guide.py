"""The guide, on a booted host: its calls and commands in workflows of our own, then its own blocks.

Whatever a workflow claims is looked at with plain shell.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machines.machine import CHECKOUT, Completed, Machine

GUIDE = CHECKOUT.parent / "shared/reference/GUIDE.md"
NGINX = "events {}\nhttp {\n  server {\n    listen 80;\n    root /srv/site;\n  }\n}\n"


class Site:
    """A folder on a machine with one workflow and one record."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.folder = f"/root/{name}"
        self.db = f"{self.folder}/stacks.db"
        machine.sh('rm -rf "$1" && mkdir "$1"', self.folder)

    def sloth(self, *words: str, check: bool = True) -> Completed:
        """Runs a command of ours on this record."""
        return self.machine.sloth("--db", self.db, *words, check=check, cwd=self.folder)

    def run(self, lua: str, *words: str, check: bool = True) -> Completed:
        """Applies a workflow to the stack that is named as the site."""
        self.machine.write(f"{self.folder}/site.lua", lua)
        return self.sloth("run", self.name, "-f", "site.lua", "--yes", *words, check=check)

    def counts(self, lua: str) -> dict[str, Any]:
        """Applies a workflow and returns the summary that it ends with."""
        last: dict[str, Any] = json.loads(self.run(lua, "--json").stdout.splitlines()[-1])
        assert last["type"] == "summary"
        return last

    def said(self, lua: str) -> list[str]:
        """Applies a workflow and returns what it printed."""
        events = [json.loads(line) for line in self.run(lua, "--json").stdout.splitlines()]
        return [event["text"] for event in events if event["type"] == "log"]

    def document(self, *words: str, check: bool = True) -> Any:
        """Returns the JSON document that a command writes."""
        return json.loads(self.sloth(*words, "--json", check=check).stdout)


@pytest.fixture
def site(machine: Machine, request: pytest.FixtureRequest) -> Site:
    """An empty site on the shared machine, of the test's own name."""
    return Site(machine, re.sub(r"\W+", "-", request.node.name)[:40].strip("-"))


def nothing_done(summary: dict[str, Any]) -> bool:
    """Whether a run has changed nothing, and nothing was owed."""
    done = ("created", "changed", "removed", "ran", "failed", "carried", "unknown", "blocked")
    return not any(summary[name] for name in done)


# The stack and its outputs.


def test_a_workflow_knows_its_stack(site: Site) -> None:
    lua = """
        print(stack.get_name())
        print(stack.get_id())
        print(stack.get_status())
    """
    name, number, status = site.said(lua)
    [listed] = site.document("stack", "list")
    assert name == site.name == listed["name"]
    assert number == site.said(lua)[1]
    assert status == "running"
    assert listed["status"] == "applied"


def test_outputs_last_and_globals_do_not(site: Site) -> None:
    lua = """
        print(stack.get_output("web_url"), _G.web_url)
        stack.set_output("web_url", "https://example.org")
        _G.web_url = "https://example.org"
        print(stack.get_output("web_url"), _G.web_url)
    """
    assert site.said(lua) == ["nil\tnil", "https://example.org\thttps://example.org"]
    assert site.said(lua)[0] == "https://example.org\tnil"
    assert site.sloth("stack", "outputs", site.name, "web_url").stdout == "https://example.org\n"


def test_a_stack_is_made_listed_shown_and_deleted(site: Site) -> None:
    site.sloth("stack", "new", "infra")
    assert [stack["name"] for stack in site.document("stack", "list")] == ["infra"]
    assert "infra" in site.sloth("stack", "list").stdout
    shown = site.sloth("stack", "show", "infra").stdout
    assert "infra" in shown
    assert "new" in shown
    site.sloth("stack", "delete", "infra")
    assert site.document("stack", "list") == []
    assert site.sloth("stack", "show", "infra", check=False).returncode == 2


def test_keys_are_shared_by_the_command_and_the_workflow(site: Site) -> None:
    site.sloth("state", "set", "colour", "green")
    assert site.sloth("state", "get", "colour").stdout == "green\n"
    assert site.said('print(state.get("colour")) state.set("size", "large")') == ["green"]
    listed = site.sloth("state", "list").stdout
    assert "colour" in listed
    assert "size" in listed
    assert site.sloth("state", "stats").returncode == 0
    site.sloth("state", "delete", "colour")
    gone = site.sloth("state", "get", "colour", check=False)
    assert (gone.returncode, gone.stdout) == (1, "")


# Resources.


def test_a_registration_is_created_then_unchanged_then_changed(site: Site) -> None:
    lua = """
        local status, resource = stack.register_resource({
            type = "custom",
            name = "queue",
            module = "custom",
            properties = { size = %d, durable = true },
        })
        print(status, resource.checksum)
        stack.update_resource("custom", "queue", { state = "applied" })
    """
    properties = json.dumps({"durable": True, "size": 3}, separators=(",", ":"))
    checksum = hashlib.sha256(properties.encode()).hexdigest()
    assert site.said(lua % 3) == [f"created\t{checksum}"]
    assert site.said(lua % 3) == [f"unchanged\t{checksum}"]
    assert site.said(lua % 4)[0].startswith("changed\t")
    [row] = site.document("stack", "resources", site.name)
    assert (row["address"], row["state"], row["registered"]) == (
        "local/custom:queue",
        "applied",
        True,
    )
    assert row["properties"] == {"durable": True, "size": 4}


def test_a_registration_that_failed_is_changed_the_next_time(site: Site) -> None:
    lua = """
        local status = stack.register_resource({
            type = "custom", name = "queue", module = "custom", properties = { size = 3 },
        })
        print(status)
        stack.update_resource("custom", "queue", { state = "%s", error = "permission denied" })
    """
    assert site.said(lua % "applied") == ["created"]
    assert site.said(lua % "failed") == ["unchanged"]
    [row] = site.document("stack", "resources", site.name, "--state", "failed")
    assert row["address"] == "local/custom:queue"
    assert site.said(lua % "applied") == ["changed"]
    assert site.document("stack", "resources", site.name, "--state", "failed") == []
    assert site.said(lua % "applied") == ["unchanged"]


def test_a_workflow_asks_what_is_recorded_and_so_claims_it(site: Site) -> None:
    site.run("""
        if not stack.resource_exists("database", "orders") then
            stack.register_resource({
                type = "database", name = "orders", module = "custom",
                properties = {version = "1.0"}
            })
        end
    """)
    lua = """
        local known = stack.get_resource("database", "orders")
        print(known.state, known.last_applied ~= nil)
        print(known.checksum == sha256(json.encode({ version = "1.0" })))
        print(stack.resource_exists("database", "others"))
    """
    assert site.said(lua) == ["applied\ttrue", "true", "false"]
    [row] = site.document("stack", "resources", site.name)
    assert row["state"] == "applied"


def test_a_file_is_copied_when_it_differs_and_a_line_is_kept(site: Site) -> None:
    site.machine.write(f"{site.folder}/app.conf", "port=80\nsetting=old\n")
    lua = f"""
        local result = file_ops.copy({{
            src = "app.conf", dest = "{site.folder}/etc.conf", mode = "0640",
        }})
        print(result.changed)
        local line = file_ops.lineinfile({{
            path = "{site.folder}/other.conf", line = "setting=value", regexp = "^setting=",
        }})
        print(line.changed)
        print(compute_checksum("{site.folder}/etc.conf"))
    """
    site.machine.write(f"{site.folder}/other.conf", "# by hand\nsetting=1\nlast=2\n")
    said = site.said(lua)
    assert said[:2] == ["true", "true"]
    assert said[2] == site.machine.sh('sha256sum "$1"', f"{site.folder}/etc.conf").stdout[:64]
    facts = site.machine.sh('stat -c %a "$1/etc.conf"; cat "$1/other.conf"', site.folder).stdout
    assert facts == "640\n# by hand\nsetting=value\nlast=2\n"
    assert site.said(lua)[:2] == ["false", "false"]
    assert nothing_done(site.counts(lua))


def test_a_user_is_created_then_modified_once(site: Site) -> None:
    lua = """
        user.create({ name = "guided", shell = "/bin/bash", home = "/home/guided" })
        user.modify({ name = "guided", shell = "/bin/sh" })
    """
    site.run(lua)
    entry = site.machine.sh("getent passwd guided").stdout.strip().split(":")
    assert (entry[0], entry[5], entry[6]) == ("guided", "/home/guided", "/bin/sh")
    assert site.machine.sh("stat -c %U /home/guided").stdout == "guided\n"
    assert nothing_done(site.counts(lua))
    site.machine.sh("usermod --shell /bin/bash guided")
    [found] = site.document("stack", "drift", site.name)["drifted"]
    assert found["address"] == "local/user:guided"
    assert found["changes"] == [{"property": "shell", "recorded": "/bin/sh", "actual": "/bin/bash"}]
    assert site.counts(lua)["changed"] == 1
    assert site.machine.sh("getent passwd guided").stdout.strip().endswith(":/bin/sh")


def test_a_package_is_installed_in_the_version_that_is_asked_for(site: Site) -> None:
    lua = """
        local result = pkg.install({ name = "sloth-pin", version = "1.0" })
        print(result.changed and "installed" or "already present")
    """
    site.machine.sh("apt-get -q update")
    assert site.said(lua) == ["installed"]
    version = "dpkg-query -W -f '${Version}' sloth-pin"
    assert site.machine.sh(version).stdout == "1.0-1"
    assert site.said(lua) == ["already present"]
    assert site.said(lua.replace("1.0", "1.1")) == ["installed"]
    assert site.machine.sh(version).stdout == "1.1-1"


def test_a_service_is_started_and_enabled_once(site: Site) -> None:
    unit = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    site.machine.write("/etc/systemd/system/guided.service", unit)
    site.machine.sh("systemctl daemon-reload")
    lua = """
        local status = systemd.ensure({ name = "guided", state = "started", enabled = true })
        print(status.changed)
    """
    assert site.said(lua) == ["true"]
    asked = "systemctl is-active guided; systemctl is-enabled guided"
    assert site.machine.sh(asked).stdout == "active\nenabled\n"
    assert site.said(lua) == ["false"]
    site.machine.sh("systemctl stop guided; systemctl disable guided")
    [found] = site.document("stack", "drift", site.name)["drifted"]
    assert {change["property"] for change in found["changes"]} == {"state", "enabled"}
    site.sloth("stack", "drift", site.name, "--fix", "--yes")
    assert site.machine.sh(asked).stdout == "active\nenabled\n"


# Tasks.


def test_tasks_run_after_what_they_depend_on_and_not_after_a_failure(site: Site) -> None:
    lua = """
        task({ name = "configure", depends_on = {"install"}, run = function() print("second") end })
        task({ name = "install", run = function() print("first") %s end })
        task({ name = "serve", depends_on = {"configure"}, run = function() print("third") end })
        file_ops.directory("/root/guided")
    """
    assert site.said(lua % "") == ["first", "second", "third"]
    failed = site.run(lua % 'error("no disk")', "--json", check=False)
    events = [json.loads(line) for line in failed.stdout.splitlines()]
    ends = {
        event["task"]: event.get("outcome", "ok") for event in events if event["type"] == "task.end"
    }
    assert failed.returncode == 1
    assert (ends["install"], ends["configure"], ends["serve"]) == ("failed", "blocked", "blocked")
    assert [event["text"] for event in events if event["type"] == "log"] == ["first"]


def test_goroutines_keep_order_and_one_unknown_host_is_named(site: Site) -> None:
    lua = """
        local made = goroutine.map({"a", "b", "c"}, function(name)
            return file_ops.content({
                path = "/root/guided-" .. name, content = name, delegate_to = %s,
            }).changed
        end)
        print(json.encode(made))
    """
    assert site.said(lua % '"local"') == ["[true,true,true]"]
    assert site.machine.sh("cat /root/guided-a /root/guided-b /root/guided-c").stdout == "abc"
    assert site.said(lua % '"local"') == ["[false,false,false]"]
    failed = site.run(lua % 'name == "b" and "server2" or "local"', check=False)
    assert failed.returncode != 0
    assert "server2" in failed.stderr
    assert "hosts.yaml" in failed.stderr


# The record.


def test_an_export_can_be_imported_into_another_record(site: Site) -> None:
    lua = f'''
        file_ops.content({{ path = "{site.folder}/a", content = "a" }})
        stack.set_output("k", "v")
    '''
    site.run(lua)
    site.machine.sh(
        '"$1" --db "$2/stacks.db" stack export "$3" > "$2/state.json"',
        str(Path(site.sloth("version").args[0])),
        site.folder,
        site.name,
    )
    exported = json.loads(site.machine.read(f"{site.folder}/state.json"))
    assert {"format", "stack", "resources", "outputs", "runs"} <= set(exported)
    other = ("--db", f"{site.folder}/other.db")
    site.machine.sloth(*other, "stack", "import", f"{site.folder}/state.json")
    shown = json.loads(site.machine.sloth(*other, "stack", "resources", site.name, "--json").stdout)
    assert [row["address"] for row in shown] == [f"local/file:{site.folder}/a"]
    assert site.machine.sloth(*other, "stack", "outputs", site.name, "k").stdout == "v\n"
    drift = json.loads(site.machine.sloth(*other, "stack", "drift", site.name, "--json").stdout)
    assert (drift["checked"], drift["drifted"], drift["missing"]) == (1, [], [])


def test_the_record_is_where_the_guide_says(fresh_machine: Machine) -> None:
    fresh_machine.sh("useradd --create-home ada")
    fresh_machine.sloth("stack", "new", "of-root")
    fresh_machine.sloth("stack", "new", "of-ada", user="ada", cwd="/home/ada")
    fresh_machine.sloth("--db", "/root/custom.db", "stack", "new", "of-flag")
    fresh_machine.sloth("stack", "new", "of-env", env={"SLOTH_RUNNER_DB": "/root/env.db"})
    places = {
        "of-root": "/etc/sloth-runner/stacks.db",
        "of-ada": "/home/ada/.sloth-runner/stacks.db",
        "of-flag": "/root/custom.db",
        "of-env": "/root/env.db",
    }
    for name, place in places.items():
        assert fresh_machine.sh('stat -c %a "$1"', place).stdout == "600\n"
        assert stored(fresh_machine, place, "SELECT name FROM stacks") == [(name,)]


def test_the_record_has_what_the_guide_lists(site: Site) -> None:
    site.run(
        f'file_ops.content({{ path = "{site.folder}/a", content = "a" }}) stack.set_output("k", 1)'
    )
    tracked = "SELECT name, version, status, created_at, updated_at FROM stacks"
    [(name, _, status, created, updated)] = stored(site.machine, site.db, tracked)
    assert (name, status) == (site.name, "applied")
    assert created <= updated
    kept = "SELECT type, name, desired, checksum, state FROM resources"
    [(kind, path, desired, checksum, state)] = stored(site.machine, site.db, kept)
    assert (kind, path, state) == ("file", f"{site.folder}/a", "applied")
    assert json.loads(desired)["content"].endswith(hashlib.sha256(b"a").hexdigest())
    assert checksum == hashlib.sha256(desired.encode()).hexdigest()
    assert stored(site.machine, site.db, "SELECT number, result FROM runs") == [(1, "ok")]
    assert stored(site.machine, site.db, "SELECT key, value FROM outputs") == [("k", "1")]


def stored(machine: Machine, place: str, query: str) -> list[Any]:
    """Returns what a query finds in a database of the machine."""
    connection = sqlite3.connect(f"file:{machine.path(place)}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


# The web server.


@pytest.fixture
def web(fresh_machine: Machine) -> Site:
    """The web server of the examples, on a machine that has never seen nginx."""
    site = Site(fresh_machine, "web-server")
    for path in (CHECKOUT / "examples/web-server").iterdir():
        fresh_machine.write(f"{site.folder}/{path.name}", path.read_bytes())
    fresh_machine.sh("apt-get -q update")
    return site


def page(machine: Machine) -> str:
    """Returns what the web server answers, asked from inside."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').read().decode())"
    return machine.run(["python3", "-c", ask]).stdout


def test_the_web_server_runs_the_second_run_is_quiet_and_it_is_repaired(web: Site) -> None:
    machine, run = web.machine, ("run", "site.lua", "--yes")
    web.sloth(*run)
    assert "This page is managed." in page(machine)
    asked = "systemctl is-active nginx; systemctl is-enabled nginx"
    assert machine.sh(asked).stdout == "active\nenabled\n"
    assert web.sloth("stack", "outputs", "web-server", "url").stdout == "http://localhost/\n"
    quiet = web.sloth(*run, "-q")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert nothing_done(json.loads(web.sloth(*run, "--json").stdout.splitlines()[-1]))
    machine.sh("systemctl stop nginx && rm /srv/www/index.html")
    machine.sh("sed -i s/80/8080/ /etc/nginx/sites-available/default")
    report = web.document("stack", "drift", "web-server")
    found = {
        item["address"]: {c["property"] for c in item["changes"]} for item in report["drifted"]
    }
    assert found == {
        "local/file:/etc/nginx/sites-available/default": {"content"},
        "local/service:nginx": {"state"},
    }
    assert report["missing"] == ["local/file:/srv/www/index.html"]
    drifted = web.document("stack", "resources", "web-server", "--state", "drift")
    assert len(drifted) == 3
    web.sloth("stack", "drift", "web-server", "--fix", "--yes")
    assert "This page is managed." in page(machine)
    assert web.document("stack", "resources", "web-server", "--state", "drift") == []


def test_what_was_removed_by_hand_comes_back_with_its_configuration(web: Site) -> None:
    web.sloth("run", "site.lua", "--yes")
    web.machine.sh("apt-get -qy purge nginx nginx-common && rm -rf /etc/nginx")
    web.sloth("run", "site.lua", "--yes")
    assert "This page is managed." in page(web.machine)
    assert nothing_done(
        json.loads(web.sloth("run", "site.lua", "--yes", "--json").stdout.splitlines()[-1])
    )


# The guide's own blocks.


def guide(language: str) -> list[str]:
    """Returns the blocks of a language in the guide, in order; none where it is not there."""
    if not GUIDE.exists():
        return []
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)


def supplied(code: str) -> str:
    """Returns what a block of the guide leaves undefined, as Lua in front of it, on its line."""
    before = [lua for words, lua in UNDEFINED if words in code]
    return " ".join(before) + (" " if before else "") + code


UNDEFINED = (
    ("compute_checksum(src)", 'src, dst = "/src/file", "/dst/file"'),
    ("json.encode(new_properties)", 'new_properties = { version = "1.18.0", state = "installed" }'),
    ("connection_string", 'connection_string = "postgres://db.example.org/app"'),
    ("do_custom_setup()", 'function do_custom_setup() exec.run("touch /root/custom-done") end'),
    ("create_database(", 'function create_database(n) exec.run("touch /root/database-" .. n) end'),
    ('depends_on = {"install"}', 'task({ name = "install", run = function() end })'),
)
# What such a block says of a package that was registered is said of one that has been.
REGISTERED = """stack.register_resource({
    type = "package", name = "nginx", module = "pkg",
    properties = { version = "1.18.0", state = "installed" },
})"""
REGISTERED_PACKAGE = "local status, resource = stack.register_resource"
SERVERS = 'goroutine.map({"server1"'
FLAG = "--db\n"


@pytest.fixture(scope="module")
def prepared(machine_image: Path) -> Iterator[Machine]:
    """A machine with the files, packages and units that the guide takes for granted."""
    with Machine(machine_image) as booted:
        booted.write("/configs/nginx.conf", NGINX)
        booted.write("/src/file", "from the guide\n")
        booted.write("/etc/config", "# by hand\nsetting=other\n")
        booted.sh("mkdir -p /dst /srv/site && echo hello > /srv/site/index.html")
        make_package(booted, "docker", "19.03.15", "20.10.0")
        yield booted


def make_package(machine: Machine, name: str, *versions: str) -> None:
    """Offers versions of a package with a unit of its name in the machine's repository."""
    for version in versions:
        tree = f"/root/{name}-{version}"
        machine.write(
            f"{tree}/DEBIAN/control",
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            f"Maintainer: nobody <nobody@example.org>\nDescription: stands for {name}\n",
        )
        machine.write(
            f"{tree}/lib/systemd/system/{name}.service",
            "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
        )
        machine.sh('dpkg-deb --root-owner-group --build "$1" /opt/repo', tree)
    listed = machine.sh(
        'cd /opt/repo && for deb in "$1"_*_all.deb; do dpkg-deb --field "$deb"; '
        'echo "Filename: ./$deb"; echo "Size: $(stat -c %s "$deb")"; '
        'echo "SHA256: $(sha256sum "$deb" | cut -d\' \' -f1)"; echo; done',
        name,
    ).stdout
    machine.write("/opt/repo/Packages", machine.read("/opt/repo/Packages") + "\n" + listed)
    machine.sh("apt-get -q update")


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
def test_the_guide_has_the_blocks_that_are_known_here() -> None:
    assert (len(guide("lua")), len(guide("bash"))) == (18, 4)
    for words, _ in UNDEFINED:
        assert sum(words in code for code in guide("lua")) == 1, words


# What these two ask for depends on the machine: they have tests of their own.
APART = (REGISTERED_PACKAGE, SERVERS)
RUNNABLE = [
    code for code in guide("lua") if code != FLAG and not any(words in code for words in APART)
]


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
@pytest.mark.parametrize("number", range(max(1, len(RUNNABLE))))
def test_a_block_of_the_guide_runs_and_changes_nothing_the_second_time(
    prepared: Machine, number: int
) -> None:
    code = RUNNABLE[number]
    site = Site(prepared, f"guide-{number}")
    if "update_resource" in code and "register_resource" not in code:
        site.run(REGISTERED)
    if "docker" in code and "pkg." not in code:  # the guide has installed it before
        prepared.sh("apt-get -q -y install docker")
    site.counts(supplied(code))
    again = site.counts(supplied(code))
    assert nothing_done(again), again
    assert site.sloth("run", site.name, "-f", "site.lua", "--yes", "-q").stdout == ""


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
def test_what_the_blocks_of_the_guide_ask_for_is_there(prepared: Machine) -> None:
    """Runs all blocks, in their order, and looks by plain shell."""
    for number, code in enumerate(RUNNABLE):
        site = Site(prepared, f"guide-all-{number}")
        if "update_resource" in code and "register_resource" not in code:
            site.run(REGISTERED)
        site.run(supplied(code))
    seen = prepared.sh(
        "dpkg-query -W -f '${Version}\\n' docker; systemctl is-active docker nginx; "
        "systemctl is-enabled docker nginx; getent passwd appuser | cut -d: -f6,7; "
        "cat /dst/file /etc/config; cmp /configs/nginx.conf /etc/nginx/nginx.conf && echo same; "
        "stat -c %a /etc/nginx/nginx.conf; ls /root/custom-done /root/database-mydb"
    ).stdout
    assert seen.splitlines() == [
        "20.10.0",
        *("active", "active", "enabled", "enabled"),
        "/home/appuser:/bin/zsh",
        "from the guide",
        *("# by hand", "setting=value", "same", "644"),
        *("/root/custom-done", "/root/database-mydb"),
    ]


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
def test_the_servers_of_the_guide_are_hosts_that_nobody_knows(prepared: Machine) -> None:
    """Only this machine is a host so far; the error says where hosts are looked for."""
    [code] = [text for text in guide("lua") if SERVERS in text]
    site = Site(prepared, "guide-servers")
    failed = site.run(code, check=False)
    assert failed.returncode != 0
    for word in ("server1", "server2", "server3", "hosts.yaml"):
        assert word in failed.stderr
    local = re.sub(r'"server\d"(, )?', "", code).replace("{}", '{"local"}')
    site.counts(local)
    assert nothing_done(site.counts(local))


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
def test_the_registered_package_of_the_guide_is_unchanged_once_the_machine_has_it(
    fresh_machine: Machine,
) -> None:
    [code] = [text for text in guide("lua") if REGISTERED_PACKAGE in text]
    site = Site(fresh_machine, "guide-registered")
    assert site.said(code) == ["Package was installed"]
    # Nothing has installed it, whatever the record says.
    assert site.said(code) == ["Package version was updated"]
    make_package(fresh_machine, "nginx", "1.18.0")
    fresh_machine.sh("apt-get -qy install nginx=1.18.0")
    assert site.said(code) == ["Package already installed with correct version"]
    assert nothing_done(site.counts(code))
    fresh_machine.sh("apt-get -qy remove nginx")
    assert site.said(code) == ["Package version was updated"]


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the checkout")
def test_the_commands_of_the_guide_work_as_they_stand_there(fresh_machine: Machine) -> None:
    manage, keys, drift, query = guide("bash")
    shell = 'set -eu\nalias sloth-runner="$1"\n'

    def run(script: str) -> str:
        program = str(fresh_machine.sloth("version").args[0])
        return fresh_machine.sh(f"{shell}{script}", program, cwd="/root").stdout

    assert "my-infrastructure" in run(manage)
    assert "value" in run(keys).splitlines()
    assert json.loads(fresh_machine.sloth("stack", "list", "--json").stdout) == []
    fresh_machine.write(
        "/root/infra.lua", 'file_ops.content({ path = "/etc/made", content = "a" })'
    )
    fresh_machine.sloth("run", "my-infrastructure", "-f", "infra.lua", "--yes")
    assert "/etc/made" not in run(drift)
    fresh_machine.sh("echo other > /etc/made")
    assert run(drift).count("/etc/made") >= 2
    assert "/etc/made" in run(query)
    exported = json.loads(fresh_machine.read("/root/state.json"))
    assert [row["name"] for row in exported["resources"]] == ["/etc/made"]
