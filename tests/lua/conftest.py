"""Programs written in a test, and the context that stands in for the engine."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sloth_runner.core.errors import Location, SlothError
from sloth_runner.core.values import Value
from sloth_runner.engine.program import ANNOUNCED, MAIN, Answer, TaskResult
from sloth_runner.lua import LuaProgram

Handler = Callable[[Sequence[Value], Location | None], Any]


def short(location: Location | None) -> str:
    """Returns a place without the folder of its file."""
    return f"{Path(location.file).name}:{location.line}" if location else "nowhere"


@dataclass
class Recorder:
    """A context: answers calls with ``handlers`` and keeps everything that the program did."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    task: str = MAIN
    attempt: int = 1
    host: str = "local"
    preview: bool = False
    results: Mapping[str, Value] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    called: list[tuple[str, list[Value], str]] = field(default_factory=list)
    announced: list[tuple[str, list[Value]]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    async def call(
        self, function: str, arguments: Sequence[Value], location: Location | None
    ) -> Answer:
        if function in ANNOUNCED:
            self.announced.append((function, list(arguments)))
            return Answer(value=None)
        self.called.append((function, list(arguments), short(location)))
        answer = self.handlers[function](arguments, location)
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer if isinstance(answer, Answer) else Answer(value=answer)

    def functions(self) -> Sequence[str]:
        return sorted(self.handlers)

    def wrote(self, path: str, location: Location | None) -> None:
        self.late.append(path)

    def say(self, text: str, *, level: str = "info", location: Location | None = None) -> None:
        self.said.append((level, text))

    @property
    def lines(self) -> list[str]:
        return [text for _, text in self.said]


def unchanged(arguments: Sequence[Value], location: Location | None) -> Value:
    return {"changed": False, "status": "unchanged"}


async def waiting(arguments: Sequence[Value], location: Location | None) -> Value:
    await asyncio.sleep(0.01)
    return {"changed": True, "name": arguments[0] if arguments else None}


@dataclass
class Bench:
    """A folder with a workflow, and what is needed to run it."""

    folder: Path
    context: Recorder
    programs: list[LuaProgram] = field(default_factory=list)

    def load(self, source: str | bytes, **options: Any) -> LuaProgram:
        path = self.folder / "deploy.lua"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        program = LuaProgram.load(str(path), **options)
        self.programs.append(program)
        return program

    def module(self, name: str, source: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    def main(self, source: str | bytes, **options: Any) -> TaskResult:
        """Runs the body of a file."""
        return asyncio.run(self.load(source, **options).main(self.context))

    def value(self, expression: str, **options: Any) -> Value:
        """Runs ``return EXPRESSION``, wrapped so that false and nil are ordinary values."""
        return self.main(f"return {{ value = {expression} }}", **options).value.get("value")

    def tasks(self, source: str, *names: str, **options: Any) -> list[TaskResult]:
        """Runs the body and then the named tasks, one after the other."""

        async def run() -> list[TaskResult]:
            program = self.load(source, **options)
            await program.main(self.context)
            answers = []
            for name in names:
                self.context.task = name
                answers.append(await program.run(name, self.context))
            return answers

        return asyncio.run(run())

    def rescue(self, source: str, error: SlothError | None = None) -> SlothError:
        """Runs the body and the task "a", which must fail unless ``error`` is how it did.

        Then it does what the task does once it has failed; returns the failure.
        """

        async def run() -> SlothError:
            program = self.load(source)
            await program.main(self.context)
            failure = error
            if failure is None:
                with pytest.raises(SlothError) as caught:
                    await program.run("a", self.context)
                failure = caught.value
            await program.rescue("a", self.context, failure)
            return failure

        return asyncio.run(run())

    def failure(self, source: str | bytes, **options: Any) -> Any:
        """Runs the body, which must fail, and returns the error."""
        with pytest.raises(Exception) as caught:
            self.main(source, **options)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    context = Recorder(
        {
            "pkg.install": unchanged,
            "pkg.remove": unchanged,
            "systemd.restart": unchanged,
            "exec.run": waiting,
        }
    )
    made = Bench(tmp_path, context)
    yield made
    for program in made.programs:
        program.close()


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    began = time.monotonic()
    return lambda: time.monotonic() - began
