"""Rows of the record as commands show them: the stable JSON shapes, secrets left out."""

import re

from sloth_runner.core.events import SENSITIVE
from sloth_runner.core.record import Output, ResourceRow, Run
from sloth_runner.core.values import Value

_SEALED = re.compile(r"hmac:[0-9a-f]{64}")


def resource_value(row: ResourceRow) -> dict[str, Value]:
    """Returns a resource as ``stack resources --json`` shows it."""
    return {
        "address": str(row.address),
        "host": row.address.host,
        "type": row.address.type,
        "name": row.address.name,
        "module": row.module,
        "registered": row.registered,
        "state": row.state,
        "status": row.state,
        "provenance": row.provenance,
        "checksum": row.checksum,
        "properties": without_secrets(row.desired or {}),
        "actual": without_secrets(row.actual),
        "drift": without_secrets(list(row.drift)),
        "drift_since": row.drift_since,
        "error": row.error,
        "task": row.task,
        "location": row.location,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_applied": row.last_applied,
        "run": row.run,
    }


def run_value(run: Run) -> dict[str, Value]:
    """Returns a run as ``stack history --json`` shows it."""
    return {
        "run": run.number,
        "id": run.id,
        "kind": run.kind,
        "result": run.result,
        "who": run.who,
        "command": run.command,
        "source_hash": run.source_hash,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "counts": dict(run.counts),
    }


def output_value(output: Output) -> dict[str, Value]:
    """Returns an output as ``stack outputs --json`` shows it."""
    return {
        "key": output.key,
        "value": SENSITIVE if output.sensitive else output.value,
        "sensitive": output.sensitive,
        "updated_at": output.updated_at,
        "run": output.run,
    }


def without_secrets(value: Value) -> Value:
    """Returns ``value`` with the HMACs of sensitive properties as "(sensitive)"."""
    if isinstance(value, str):
        return SENSITIVE if _SEALED.fullmatch(value) else value
    if isinstance(value, dict):
        return {name: without_secrets(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value
