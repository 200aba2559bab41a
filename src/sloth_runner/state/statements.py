"""Every SQL statement of the record but the schema: plain enough for SQLite and PostgreSQL alike.

Each name is one statement with ``?`` placeholders; the store gives the values in order.
"""

# ruff: noqa: S608 (what is put together here are constants of this file)

# settings

SETTING = "SELECT value FROM settings WHERE name = ?"
PUT_SETTING = """
INSERT INTO settings (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
SCHEMA_VERSION = "SELECT max(number) FROM migrations"

# stacks

_STACK = """
SELECT id, name, version, status, created_at, updated_at, serial, lineage, workflow, description
FROM stacks
"""
STACKS = f"{_STACK} ORDER BY name"
STACK = f"{_STACK} WHERE name = ?"
STACK_BY_ID = f"{_STACK} WHERE id = ?"
ADD_STACK = """
INSERT INTO stacks (id, name, version, status, created_at, updated_at, serial, lineage, workflow,
  description)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING
"""
UPDATE_STACK = """
UPDATE stacks SET status = coalesce(?, status), workflow = coalesce(?, workflow),
  description = coalesce(?, description), version = coalesce(?, version),
  updated_at = ?, serial = serial + 1
WHERE id = ?
"""
RENAME_STACK = "UPDATE stacks SET name = ?, updated_at = ?, serial = serial + 1 WHERE id = ?"
BUMP_STACK = "UPDATE stacks SET updated_at = ?, serial = serial + 1 WHERE id = ?"
DELETE_STACK = "DELETE FROM stacks WHERE id = ?"

# runs

_RUN = """
SELECT id, stack_id, number, kind, who, command, source_hash, started_at, finished_at, result,
  counts
FROM runs
"""
RUNS = f"{_RUN} WHERE stack_id = ? ORDER BY number DESC LIMIT ?"
RUN = f"{_RUN} WHERE stack_id = ? AND number = ?"
BEGIN_RUN = """
INSERT INTO runs (id, stack_id, number, kind, who, command, source_hash, started_at, counts)
VALUES (?, ?, (SELECT coalesce(max(number), 0) + 1 FROM runs WHERE stack_id = ?), ?, ?, ?, ?, ?,
  '{}')
RETURNING number
"""
FINISH_RUN = "UPDATE runs SET finished_at = ?, result = ?, counts = ? WHERE id = ?"
RESTORE_RUN = """
INSERT INTO runs (id, stack_id, number, kind, who, command, source_hash, started_at, finished_at,
  result, counts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# resources

_RESOURCE = """
SELECT r.host, r.type, r.name, r.module, r.registered, r.checksum, r.state, r.provenance,
  r.position, r.drift_since, r.error, c.task, r.location, r.protect, c.run, r.run, r.created_at,
  r.updated_at, r.last_applied, r.params, r.desired, r.actual, r.origin, r.carry, r.drift
FROM resources r JOIN claims c ON c.resource_id = r.id
"""
_KEY = "stack_id = ? AND host = ? AND type = ? AND name = ? AND registered = ?"
RESOURCES = f"{_RESOURCE} WHERE r.stack_id = ? ORDER BY r.position"
RESOURCE = f"{_RESOURCE} WHERE {_KEY}"
RESOURCE_COUNT = "SELECT count(*) FROM resources WHERE stack_id = ?"
RESOURCE_STATES = "SELECT state, count(*) FROM resources WHERE stack_id = ? GROUP BY state"
PUT_RESOURCE = """
INSERT INTO resources (stack_id, host, type, name, registered, module, params, desired, actual,
  checksum, state, provenance, position, origin, carry, drift, drift_since, error, location,
  protect, run, created_at, updated_at, last_applied)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
  (SELECT coalesce(max(position), 0) + 1 FROM resources WHERE stack_id = ?),
  ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stack_id, host, type, name, registered) DO UPDATE SET
  module = excluded.module, params = excluded.params, desired = excluded.desired,
  actual = excluded.actual, checksum = excluded.checksum, state = excluded.state,
  provenance = excluded.provenance, origin = excluded.origin, carry = excluded.carry,
  drift = excluded.drift, drift_since = excluded.drift_since, error = excluded.error,
  location = excluded.location, protect = excluded.protect, run = excluded.run,
  updated_at = excluded.updated_at, last_applied = excluded.last_applied
RETURNING id, position, created_at
"""
PUT_CLAIM = """
INSERT INTO claims (resource_id, run, task) VALUES (?, ?, ?)
ON CONFLICT (resource_id) DO UPDATE SET run = excluded.run, task = excluded.task
"""
TOUCH = """
UPDATE claims SET run = ?, task = ?
WHERE resource_id IN (SELECT id FROM resources WHERE stack_id = ? AND position BETWEEN ? AND ?)
"""
RELOCATE = "UPDATE resources SET location = ? WHERE stack_id = ? AND position = ?"
SET_DRIFT = f"""
UPDATE resources SET drift = ?, drift_since = ?,
  state = CASE WHEN state = 'applied' THEN 'drift' ELSE state END, updated_at = ?
WHERE {_KEY}
"""
CLEAR_DRIFT = f"""
UPDATE resources SET drift = NULL, drift_since = NULL,
  state = CASE WHEN state = 'drift' THEN 'applied' ELSE state END, updated_at = ?
WHERE {_KEY} AND (drift IS NOT NULL OR state = 'drift')
"""
CLEAR_CARRY = f"UPDATE resources SET carry = NULL, updated_at = ? WHERE {_KEY}"
DELETE_RESOURCE = f"DELETE FROM resources WHERE {_KEY}"

# operations

_OPERATION = """
SELECT id, run_id, host, type, name, kind, task, attempt, ordinal, registered, body, location,
  started_at, ended_at, result
FROM operations
"""
OPERATIONS = f"{_OPERATION} WHERE run_id = ? ORDER BY position"
OPEN_OPERATIONS = f"{_OPERATION} WHERE stack_id = ? AND result IS NULL ORDER BY position"
BEGIN_OPERATION = """
INSERT INTO operations (id, run_id, stack_id, host, type, name, registered, kind, task, attempt,
  ordinal, body, location, started_at, ended_at, result)
VALUES (?, ?, (SELECT stack_id FROM runs WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
END_OPERATION = """
UPDATE operations SET result = ?, ended_at = ? WHERE id = ? AND result IS NULL
"""

# commands

UNFINISHED_COMMANDS = """
SELECT id, operation_id, host, argv, process_group, start_time, boot, finished
FROM commands WHERE stack_id = ? AND finished = 0 ORDER BY id
"""
COMMAND_STARTED = """
INSERT INTO commands (id, operation_id, stack_id, host, argv, process_group, start_time, boot,
  finished)
VALUES (?, ?, (SELECT stack_id FROM operations WHERE id = ?), ?, ?, ?, ?, ?, ?)
"""
COMMAND_FINISHED = "UPDATE commands SET finished = 1 WHERE id = ?"

# events

EVENTS = "SELECT run_id, seq, at, type, address, data FROM events WHERE run_id = ? ORDER BY seq"
ADD_EVENT = """
INSERT INTO events (run_id, seq, at, type, address, data)
VALUES (?, (SELECT coalesce(max(seq), 0) + 1 FROM events WHERE run_id = ?), ?, ?, ?, ?)
RETURNING seq
"""
RESTORE_EVENT = """
INSERT INTO events (run_id, seq, at, type, address, data) VALUES (?, ?, ?, ?, ?, ?)
"""

# outputs

OUTPUTS = """
SELECT key, value, sensitive, updated_at, run FROM outputs WHERE stack_id = ? ORDER BY key
"""
PUT_OUTPUT = """
INSERT INTO outputs (stack_id, key, value, sensitive, updated_at, run) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (stack_id, key) DO UPDATE SET value = excluded.value,
  sensitive = excluded.sensitive, updated_at = excluded.updated_at, run = excluded.run
"""
DELETE_OUTPUT = "DELETE FROM outputs WHERE stack_id = ? AND key = ?"

# keys and values

KV_GET = "SELECT value FROM kv WHERE scope = ? AND key = ?"
KV_SET = """
INSERT INTO kv (scope, key, value, updated_at) VALUES (?, ?, ?, ?)
ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
"""
KV_DELETE = "DELETE FROM kv WHERE scope = ? AND key = ?"
KV_CLEAR = "DELETE FROM kv WHERE scope = ?"
KV_LIST = """
SELECT key, value, updated_at FROM kv WHERE scope = ? AND key >= ? AND key < ? ORDER BY key
"""
KV_STATS = """
SELECT count(*), coalesce(sum(length(key) + length(value)), 0), max(updated_at)
FROM kv WHERE scope = ?
"""

# digests

DIGESTS = "SELECT path, facts FROM digests WHERE host = ?"
PUT_DIGEST = """
INSERT INTO digests (host, path, facts) VALUES (?, ?, ?)
ON CONFLICT (host, path) DO UPDATE SET facts = excluded.facts
"""

# holders

HOLDER = "SELECT who, pid, since, command, run FROM holders WHERE stack_id = ?"
HOLDER_RUN = "SELECT run_id FROM holders WHERE stack_id = ?"
SET_HOLDER = """
INSERT INTO holders (stack_id, run_id, who, pid, since, command, run) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stack_id) DO UPDATE SET run_id = excluded.run_id, who = excluded.who,
  pid = excluded.pid, since = excluded.since, command = excluded.command, run = excluded.run
"""
CLEAR_HOLDER = "DELETE FROM holders WHERE stack_id = ? AND run_id = ?"

# blobs

TEXTS_WITH_BLOBS = """
SELECT params FROM resources UNION ALL SELECT origin FROM resources WHERE origin IS NOT NULL
UNION ALL SELECT body FROM operations
"""
