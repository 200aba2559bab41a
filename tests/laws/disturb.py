"""What somebody may do by hand to each property of each type, in plain shell.

A type has an entry for every property that its samples desire, and for ``presence``, what
undoes that it is there (or away). ``INHERENT`` are those that cannot differ in a thing
that is still the same thing. A property that is missing here fails the law.
"""

import subprocess
from collections.abc import Callable, Iterator

from sloth_runner.core.resource import Resource

INHERENT = {
    *(("directory", "kind"), ("download", "kind"), ("user", "name"), ("group", "name")),
    *(("package", "state"), ("hold", "held")),
    # Only a unit that the manager holds in memory can differ from its file.
    ("unit", "loaded"),
}
_FILE = {
    "content": 'printf x >>"$PLACE"',
    "mode": 'chmod 0604 "$PLACE"',
    "owner": 'chown 4242 "$PLACE"',
    "group": 'chgrp 4242 "$PLACE"',
    "presence": 'rm -f "$PLACE"',
}
BY_HAND: dict[str, dict[str, str]] = {
    "archive": {"members": 'printf x >>"$PLACE/app/run"'},
    "block": {
        "block": """sed -i '/BEGIN .*\\(block\\|web\\|app\\)/a by hand' "$PLACE" """,
        "presence": """sed -i '/BEGIN/,/END/d' "$PLACE" """,
    },
    "directory": {
        "mode": 'chmod 0700 "$PLACE"',
        "tree": 'touch "$PLACE/more" && chmod 0666 "$PLACE/more"',
        "presence": 'rm -r "$PLACE"',
    },
    "download": _FILE,
    "fetch": {"copy": 'printf x >>"$PLACE"'},
    "file": _FILE,
    "group": {"gid": 'groupmod -g 4999 "$NAME"', "presence": 'groupdel "$NAME"'},
    "hold": {"presence": 'apt-mark unhold "$NAME"'},
    "line": {
        "line": """sed -i 's/port=8080/port=1/' "$PLACE" """,
        "presence": """sed -i '/port=8080/d; /host=here/d; /^a b$/d' "$PLACE" """,
    },
    "package": {
        "version": 'apt-get -qy --allow-downgrades install "$NAME=1.0-1"',
        # A newer version than the one that is there, for as long as it takes to find it.
        "latest": 'dpkg-deb -R /opt/repo/"$NAME"_*.deb /root/newer && '
        "sed -i 's/^Version: .*/&+newer/' /root/newer/DEBIAN/control && "
        "dpkg-deb -b /root/newer /opt/repo/newer.deb && rm -r /root/newer && cd /opt/repo && "
        "{ echo; dpkg-deb --field newer.deb; echo Filename: ./newer.deb; "
        "echo Size: $(stat -c %s newer.deb); echo SHA256: $(sha256sum newer.deb | cut -c-64); } "
        ">>Packages && apt-get -q update",
        "presence": 'apt-get -qy remove "$NAME"',
    },
    "replace": {"pending": """printf 'port=9\\nhost=old\\n' >>"$PLACE" """},
    "repository": {
        "types": """sed -i 's/^Types: .*/Types: deb deb-src/' "$PLACE" """,
        "uris": """sed -i 's,^URIs: .*,URIs: file:/opt/other,' "$PLACE" """,
        "suites": """sed -i 's,^Suites: .*,Suites: other/,' "$PLACE" """,
        "components": """sed -i 's,^Suites: .*,Suites: ./\\nComponents: main,' "$PLACE" """,
        "trusted": """sed -i 's/^Trusted: .*/Trusted: no/' "$PLACE" """,
        "enabled": """printf 'Enabled: no\\n' >>"$PLACE" """,
        "stanzas": """printf '\\nTypes: deb\\nURIs: file:/x\\nSuites: ./\\n' >>"$PLACE" """,
        "mode": 'chmod 0640 "$PLACE"',
        "presence": 'rm "$PLACE"',
    },
    "service": {
        "state": 'if systemctl -q is-active "$NAME"; then systemctl stop "$NAME"; '
        'elif systemctl start "$NAME"; then :; '
        # What is masked has to be unmasked for it, which a run then finds as well.
        'else systemctl unmask "$NAME" && systemctl start "$NAME" && systemctl mask "$NAME"; fi',
        "enabled": 'if systemctl -q is-enabled "$NAME"; then systemctl disable "$NAME"; '
        'else systemctl enable "$NAME"; fi',
        "masked": 'systemctl unmask "$NAME"',
    },
    "symlink": {"target": 'ln -sfn /by/hand "$PLACE"', "presence": 'rm "$PLACE"'},
    "unit": {
        "content": """printf '# by hand\\n' >>"$PLACE"; systemctl daemon-reload""",
        "mode": 'chmod 0604 "$PLACE"',
        "presence": 'rm "$PLACE"; systemctl daemon-reload',
    },
    "user": {
        "uid": 'usermod -u 4998 "$NAME"',
        "shell": 'usermod -s /bin/false "$NAME"',
        "comment": 'usermod -c other "$NAME"',
        "groups": 'usermod -G users "$NAME"',
        "locked": 'usermod -p x "$NAME"',
        "password": 'usermod -p y "$NAME"',
        "presence": 'userdel "$NAME"',
    },
}
BACK: dict[str, str] = {
    "block": """printf '\\n# BEGIN sloth old\\nx\\n# END sloth old\\n' >>"$PLACE" """,
    "directory": 'mkdir "$PLACE"',
    "group": 'groupadd "$NAME"',
    "hold": 'apt-mark hold "$NAME"',
    "line": """printf '\\nuser=x\\r\\n' >>"$PLACE" """,
    "package": 'apt-get -qy install "$NAME"',
    "path": 'mkdir -p "$(dirname "$PLACE")" && touch "$PLACE"',
    "repository": 'printf "Types: deb\\nURIs: file:/x\\nSuites: ./\\n" >"$PLACE"',
    "unit": 'printf "[Timer]\\nOnCalendar=daily\\n" >"$PLACE"; systemctl daemon-reload',
    "user": 'useradd "$NAME"',
}
"""What makes a thing again that is to be away."""


def disturbances(resource: Resource) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yields the properties that a resource desires, each with what disturbs it."""
    desired = resource.desired()
    if desired is None:
        yield "presence", _shell(BACK[resource.type], resource)
        return
    ways = BY_HAND[resource.type]
    for name in desired:
        inherent = (resource.type, name) in INHERENT
        # Without a pattern, a line that was changed is another line: it is not there.
        if not inherent and getattr(resource, "regexp", "") is not None:
            yield name, _shell(ways[name], resource)
    if "presence" in ways:
        yield "presence", _shell(ways["presence"], resource)


def _shell(script: str, resource: Resource) -> Callable[[], None]:
    place = resource.path or ""
    name = resource.name
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NAME": name, "PLACE": place}

    def disturb() -> None:
        done = subprocess.run(
            ["sh", "-ec", script],
            env={k: v.encode("utf-8", "surrogateescape") for k, v in environment.items()},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    return disturb
