"""Everything that works together in one run or one preview, put together in one place."""

import asyncio
import contextlib
import posixpath
from collections.abc import Callable, Iterable

from msgspec import Struct, structs

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.errors import SlothError
from sloth_runner.core.record import ResourceRow, Run, Stack
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Resource
from sloth_runner.engine.bus import Bus
from sloth_runner.engine.calls import Calls
from sloth_runner.engine.claims import Claims
from sloth_runner.engine.commands import Commands
from sloth_runner.engine.context import Counts
from sloth_runner.engine.defined import Definitions, DefinitionsContext
from sloth_runner.engine.graph import Graph
from sloth_runner.engine.machines import Machines
from sloth_runner.engine.observations import Observations
from sloth_runner.engine.operations import Operations
from sloth_runner.engine.parameters import Parameters, Render
from sloth_runner.engine.pipeline import Pipeline
from sloth_runner.engine.places import among
from sloth_runner.engine.plan import Plan
from sloth_runner.engine.preimages import Preimages
from sloth_runner.engine.program import MAIN, Program, RunSpec
from sloth_runner.engine.program_files import ProgramFiles
from sloth_runner.engine.recorder import KEY, Recorder
from sloth_runner.engine.registrations import Registrations
from sloth_runner.engine.scheduler import Scheduler
from sloth_runner.engine.seal import BASE, Seal, sources
from sloth_runner.engine.stack_calls import StackCalls
from sloth_runner.engine.state_calls import StateCalls
from sloth_runner.engine.stopping import Stop
from sloth_runner.engine.writes import Writes
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.database import folder_of
from sloth_runner.state.journal import Journal
from sloth_runner.state.keys import Sealer

LoadProgram = Callable[[RunSpec], Program]


class Settings(Struct, frozen=True, kw_only=True):
    """What the tools need to know: where the record is, and how to look (see ``RunSpec``)."""

    db: str
    render: Render
    folder: str = ""
    inventory: str | None = None
    rehash: bool = False
    max_age: float = 5.0
    max_preimage: int = 64 * 1024 * 1024

    @classmethod
    def of(cls, spec: RunSpec, db: str, render: Render) -> "Settings":
        """Returns the settings of a run."""
        return cls(
            db=db,
            render=render,
            folder=posixpath.dirname(spec.file),
            inventory=spec.inventory,
            rehash=spec.rehash,
            max_age=spec.max_age,
            max_preimage=spec.max_preimage,
        )


class Tools(Struct, frozen=True, kw_only=True):
    """What looks at machines, changes them and records it: for a run, a preview or a repair."""

    machines: Machines
    observations: Observations
    recorder: Recorder
    pipeline: Pipeline
    claims: Claims
    counts: Counts

    @classmethod
    async def open(
        cls,
        *,
        settings: Settings,
        journal: Journal,
        stack: Stack,
        run: Run,
        bus: Bus,
        stop: Stop,
        preview: Plan | None = None,
        binding: Plan | None = None,
        load: LoadProgram | None = None,
    ) -> "Tools":
        """Reads the record and begins to look at what it knows.

        With ``load``, types that are defined in Lua are read from the files that rows name.
        """
        digests = await journal.read(lambda store: store.digests(LOCAL))
        key = await journal.read(lambda store: store.setting(KEY))
        machines = Machines(
            digests,
            rehash=settings.rehash,
            inventory=settings.inventory,
            workflow_folder=settings.folder,
        )
        folder = folder_of(settings.db)
        blobs = Blobs(folder)
        seal = Seal(
            sealer=Sealer.load(folder, expected=key),
            blobs=blobs,
            types=registry(),
            definitions=Definitions(registry(), settings.render),
            limit=settings.max_preimage,
        )
        recorder = Recorder(journal, stack, run, seal, bus)
        if stack.id:
            await recorder.load()
        if load is not None:
            await _define(seal.definitions, recorder.rows.values(), load)
        observations = Observations(machines, max_age=settings.max_age)
        claims = Claims(*await _looked_at(recorder, observations), observations.place)
        recorder.bases = claims.bases
        counts = Counts()
        pipeline = Pipeline(
            machines=machines,
            observations=observations,
            claims=claims,
            recorder=recorder,
            preimages=Preimages(blobs=blobs, limit=settings.max_preimage),
            commands=Commands(recorder, bus),
            counts=counts,
            stop=stop,
            preview=preview,
            binding=binding,
        )
        return cls(
            machines=machines,
            observations=observations,
            recorder=recorder,
            pipeline=pipeline,
            claims=claims,
            counts=counts,
        )

    async def close(self) -> None:
        """Ends what was begun; the record stays open."""
        await self.observations.close()
        self.machines.close()


class Workshop(Struct, frozen=True, kw_only=True):
    """The parts of one run or preview: tools, a program, and what runs its tasks."""

    tools: Tools
    program: Program
    files: ProgramFiles
    writes: Writes
    scheduler: Scheduler

    @classmethod
    async def open(
        cls, tools: Tools, *, spec: RunSpec, load: LoadProgram, render: Render
    ) -> "Workshop":
        """Loads the program and gives it the tools; what is recorded is looked at meanwhile."""
        pipeline, recorder = tools.pipeline, tools.recorder
        program = load(spec if pipeline.preview is None else structs.replace(spec, mode="plan"))
        writes = Writes(
            tools.counts,
            recorder.bus.publish,
            preview=pipeline.preview,
            binding=pipeline.binding,
        )
        pipeline.overlay.program = program
        registrations = Registrations(pipeline, recorder.seal.types, writes)
        stack_calls = StackCalls(pipeline, tools.claims, registrations, writes)
        await stack_calls.load()
        files = ProgramFiles(pipeline, program, writes)
        calls = Calls(
            registry=recorder.seal.types,
            pipeline=pipeline,
            operations=Operations(pipeline),
            claims=tools.claims,
            stack_calls=stack_calls,
            state_calls=StateCalls(recorder, writes, pipeline.overlay),
            files=files,
            parameters=Parameters(
                registry=recorder.seal.types,
                sources=files,
                render=render,
                folder=posixpath.dirname(spec.file),
            ),
            invoke=program.invoke,
        )

        def loaded(graph: Graph) -> None:
            pipeline.tasks = frozenset({MAIN, *graph.tasks})

        scheduler = Scheduler(
            spec=spec,
            program=program,
            calls=calls,
            recorder=recorder,
            registrations=registrations,
            counts=tools.counts,
            stop=pipeline.stop,
            preview=pipeline.preview,
            on_loaded=loaded,
        )
        return cls(tools=tools, program=program, files=files, writes=writes, scheduler=scheduler)

    async def close(self) -> None:
        """Ends the program and the tools."""
        self.program.close()
        await self.tools.close()


async def _define(definitions: Definitions, rows: Iterable[ResourceRow], load: LoadProgram) -> None:
    """Reads the types that rows were defined with; what cannot be read stays unknown."""
    files = {row.params.get("defined_in") for row in rows if not row.registered}
    for file in sorted(file for file in files if isinstance(file, str)):
        try:
            program = load(RunSpec(file=file, db="", mode="plan"))
            read = await program.main(DefinitionsContext(definitions, program.invoke))
        except SlothError as error:
            definitions.unread[file] = error.said
        else:
            if read.unpredicted is not None:
                definitions.unread[file] = f"it needs an answer before that, at {read.unpredicted}"


async def _looked_at(
    recorder: Recorder, observations: Observations
) -> tuple[dict[Address, tuple[Resource, Resource]], dict[Address, Resource]]:
    """Rebuilds the resources of rows and begins to look at them.

    Returns the refined ones with their base, and all that the last run has declared. The
    types with the fewest go first: what is asked of programs for them is found out while
    the others are rebuilt. Last are those that leave something to others. A row that this
    installation cannot rebuild is looked at when the workflow calls for it.
    """
    rows = [row for row in recorder.rows.values() if not row.registered]
    paths = [path for row in rows for path in sources(row.params)]
    observations.start([row.address for row in rows], paths)
    by_type: dict[str, list[ResourceRow]] = {}
    for row in rows:
        by_type.setdefault(row.address.type, []).append(row)
    refined: dict[Address, tuple[Resource, Resource]] = {}
    spread: dict[Address, Resource] = {}
    declared: dict[Address, Resource] = {}
    for name, group in sorted(by_type.items(), key=lambda item: len(item[1])):
        recorded: dict[Address, Resource] = {}
        for row in group:
            with contextlib.suppress(SlothError):
                resource = recorder.seal.resource(name, row.params)
                (spread if resource.spreads else recorded)[row.address] = resource
                if row.state != "orphaned":
                    declared[row.address] = resource
                if BASE in row.params:
                    base = recorder.seal.resource(name, row.params[BASE])
                    refined[row.address] = base, resource
        observations.begin(recorded)
        await asyncio.sleep(0)
    for host in {address.host for address in spread}:
        await observations.locate(host, [r for a, r in spread.items() if a.host == host])
    observations.begin({a: among(a, r, declared, observations.place) for a, r in spread.items()})
    return refined, declared
