"""Event lists as runs leave them, for the renderers to tell."""

from sloth_runner.core.events import (
    SENSITIVE,
    ChangeItem,
    CommandOutput,
    Diagnostic,
    Event,
    LockWait,
    Log,
    Orphaned,
    ProgramLoaded,
    ProgramWrote,
    Recovered,
    ResourceEnd,
    ResourceStart,
    ResourceUnchanged,
    StackOutput,
    StreamStart,
    Summary,
    TaskEnd,
    TaskStart,
    Warned,
)

CONFIG_DIFF = (
    "@@ -1,4 +1,5 @@\n http {\n-  server_tokens on;\n+  server_tokens off;\n"
    "+  client_max_body_size 64m;\n   keepalive_timeout 65;\n }"
)
NGINX_CONF = ChangeItem(
    path="content", old="sha256:" + "a" * 64, new="sha256:" + "b" * 64, diff=CONFIG_DIFF
)


def start(kind: str = "run", n: int | None = 42) -> StreamStart:
    return StreamStart(
        msg=f"{kind} of web",
        tool="sloth-runner 0.1.0",
        stack="web",
        n=n if kind == "run" else None,
        kind=kind,
        argv=("sloth-runner", kind, "site.lua"),
        user="ana@bastion",
        source="site.lua",
    )


def ended(
    res: str, outcome: str, *changes: ChangeItem, task: str, line: int, **rest: object
) -> ResourceEnd:
    return ResourceEnd(
        msg=f"local/{res} {outcome}",
        host=str(rest.pop("host", "local")),
        task=task,
        res=res,
        loc=f"site.lua:{line}",
        outcome=outcome,
        changes=changes,
        **rest,  # type: ignore[arg-type]
    )


INSTALLED = ended(
    "package:nginx",
    "created",
    ChangeItem(path="state", new="present"),
    ChangeItem(path="version", new="1.22.1-9+deb12u3"),
    task="install-nginx",
    line=12,
    ms=4120,
)
CONFIGURED = ended(
    "file:/etc/nginx/nginx.conf",
    "changed",
    NGINX_CONF,
    ChangeItem(path="mode", old="0600", new="0644"),
    task="configure-nginx",
    line=21,
    ms=210,
    cause="corrective",
)
RESTARTED = ended(
    "service:nginx restart", "ran", task="configure-nginx", line=29, ms=600, undo="cannot be undone"
)
PASSWORD = ended(
    "user:appuser",
    "changed",
    ChangeItem(path="password", old=SENSITIVE, new=SENSITIVE, sensitive=True),
    ChangeItem(path="shell", old="/bin/bash", new="/bin/zsh"),
    task="users",
    line=40,
    ms=30,
)
REMOVED = ended(
    "file:/etc/cron.d/a-name-that-is-far-too-long-for-a-narrow-terminal-window-and-goes-on.conf",
    "removed",
    ChangeItem(path="mode", old="0644"),
    task="users",
    line=44,
    ms=5,
    host="web1",
)
OUTPUT = StackOutput(msg="output nginx_port set", task="users", key="nginx_port", value="80")


def wrote(kind: str, name: str, outcome: str, *, line: int, planned: bool = False) -> ProgramWrote:
    return ProgramWrote(
        msg=f"{kind} {name} {outcome}",
        task="users",
        loc=f"site.lua:{line}",
        kind=kind,
        name=name,
        outcome=outcome,
        planned=planned,
    )


ENDED = [
    TaskEnd(msg="task install-nginx ok", task="install-nginx", ms=4200),
    TaskEnd(msg="task configure-nginx ok", task="configure-nginx", ms=900),
    TaskEnd(msg="task users ok", task="users", ms=40),
]

SUCCESS: list[Event] = [
    start(),
    TaskStart(msg="task main", task="main"),
    TaskEnd(msg="task main ok", task="main"),
    ProgramLoaded(msg="3 tasks", tasks=("install-nginx", "configure-nginx", "users")),
    TaskStart(msg="task install-nginx", task="install-nginx"),
    ResourceStart(task="install-nginx", host="local", res="package:nginx", action="create"),
    CommandOutput(stream="stdout", text="Unpacking nginx (1.22.1-9+deb12u3) ..."),
    INSTALLED,
    Log(msg="✓ nginx installed", text="✓ nginx installed", task="install-nginx"),
    ENDED[0],
    CONFIGURED,
    RESTARTED,
    ENDED[1],
    ResourceUnchanged(task="users", host="local", res="group:www-data", loc="site.lua:38"),
    PASSWORD,
    REMOVED,
    OUTPUT,
    wrote("key", "deployments", "changed", line=50),
    ENDED[2],
    Orphaned(msg="local/file:/etc/old is no longer declared", host="local", res="file:/etc/old"),
    Summary(
        msg="ok",
        created=1,
        changed=2,
        removed=1,
        ran=1,
        written=2,
        unchanged=1,
        orphaned=1,
        seconds=47.2,
        checked=6,
        touched=True,
    ),
]

NOTHING: list[Event] = [
    start(),
    TaskEnd(msg="task main ok", task="main"),
    ResourceUnchanged(task="users", host="local", res="user:appuser", loc="site.lua:40"),
    Summary(msg="ok", unchanged=22, seconds=0.21, checked=22),
]

FAILURE: list[Event] = [
    start(),
    Recovered(
        msg="local/file:/etc/motd was interrupted in an earlier run: done",
        host="local",
        res="file:/etc/motd",
        outcome="done",
    ),
    INSTALLED,
    ENDED[0],
    ended(
        "file:/etc/nginx/nginx.conf",
        "failed",
        NGINX_CONF,
        task="configure-nginx",
        line=3,
        ms=120,
        reason="site.lua:3: the validation command rejected the new file: nginx refused",
    ),
    Diagnostic(
        msg="the validation command rejected the new file",
        level="error",
        task="configure-nginx",
        loc="site.lua:3",
        code="SR2107",
        title="the validation command rejected the new file",
        detail="nginx ended with exit code 1",
        hint="look at the line that it names",
        facts={
            "host": "web2",
            "task": "configure-nginx",
            "resource": "web2/file:/etc/nginx/nginx.conf",
            "command": ["nginx", "-t", "-c", "/etc/nginx/.nginx.conf new"],
            "exit code": 1,
            "stderr": 'nginx: [emerg] unknown directive "sever_tokens"\nconfiguration test failed',
            "stdout": "",
        },
        effects=("the old file is as it was",),
        blocked=("ensure-service-running", "users"),
        traceback="site.lua:3: in the function defined at line 2",
    ),
    TaskEnd(msg="failed", task="configure-nginx", outcome="failed", level="error", reason="…"),
    TaskEnd(
        msg="blocked", task="users", outcome="blocked", reason="configure-nginx did not succeed"
    ),
    Summary(
        msg="failed",
        created=1,
        failed=1,
        blocked=2,
        unchanged=17,
        exit=1,
        result="failed",
        seconds=12.4,
        checked=19,
        touched=True,
        level="error",
    ),
]

CANCELLED: list[Event] = [
    start(),
    LockWait(msg="waiting for the stack, held by li@bastion, pid 48213", holder="li@bastion"),
    INSTALLED,
    Warned(msg="stopped by SIGINT: nothing new starts", hint="again: ends at once"),
    TaskEnd(msg="cancelled", task="configure-nginx", outcome="cancelled", reason="stopped"),
    Summary(
        msg="cancelled", created=1, exit=8, result="cancelled", seconds=52, checked=1, touched=True
    ),
]

PLAN: list[Event] = [
    start("plan"),
    Log(msg="hidden without -v", text="hidden without -v", task="install-nginx"),
    ended(
        "package:nginx", "created", *INSTALLED.changes, task="install-nginx", line=12, planned=True
    ),
    ended(
        "file:/etc/nginx/nginx.conf",
        "changed",
        *CONFIGURED.changes,
        task="configure-nginx",
        line=21,
        planned=True,
        follows="local/package:nginx",
        cause="corrective",
        undo="its content is larger than 64 MiB",
    ),
    ended(
        "service:nginx restart",
        "ran",
        task="configure-nginx",
        line=29,
        planned=True,
        undo="cannot be undone",
        note="unless its guard says otherwise",
    ),
    ended("user:appuser", "changed", *PASSWORD.changes, task="users", line=40, planned=True),
    ended(
        "file:/etc/cron.d/old",
        "removed",
        ChangeItem(path="mode", old="0644"),
        task="users",
        line=44,
        planned=True,
    ),
    ended("file:/etc/motd", "carried", task="users", line=45, planned=True, carried=True),
    StackOutput(msg="", key="nginx_port", value="80", planned=True),
    StackOutput(msg="", key="token", value=SENSITIVE, sensitive=True, planned=True),
    wrote("file", "/srv/report.txt", "created", line=48, planned=True),
    wrote("key", "deploy\n ments", "changed", line=50, planned=True),
    wrote("stack_key", "last", "removed", line=51, planned=True),
    wrote("registration", "local/database:prod", "changed", line=52, planned=True),
    TaskEnd(msg="", task="configure-nginx", on_failure=True),
    TaskEnd(msg="", task="nothing-to-do", on_failure=True),
    TaskEnd(
        msg="", task="deploy", outcome="unknown", unpredicted="deploy.lua:12 (output of exec.run)"
    ),
    Summary(
        msg="",
        created=1,
        changed=2,
        removed=1,
        ran=1,
        written=6,
        unknown=1,
        carried=1,
        unchanged=14,
        seconds=2.4,
        checked=20,
    ),
]

EMPTY_PLAN: list[Event] = [start("plan"), Summary(msg="", unchanged=22, seconds=0.2, checked=22)]

ALL = {
    "success": SUCCESS,
    "nothing": NOTHING,
    "failure": FAILURE,
    "cancelled": CANCELLED,
    "plan": PLAN,
    "empty_plan": EMPTY_PLAN,
}
