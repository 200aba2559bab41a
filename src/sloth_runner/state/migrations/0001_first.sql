-- The first schema. Text that came from outside is escaped as addresses are (core/address.py);
-- structured values are canonical JSON; times are ISO 8601 in UTC.

CREATE TABLE migrations (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at TEXT NOT NULL
);

CREATE TABLE settings (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE stacks (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE CHECK (name <> ''),
  version TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('new', 'running', 'applied', 'failed', 'cancelled')),
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  serial INTEGER NOT NULL CHECK (serial > 0),
  lineage TEXT NOT NULL,
  workflow TEXT,
  description TEXT NOT NULL
);

CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  kind TEXT NOT NULL
    CHECK (kind IN ('run', 'drift', 'fix', 'accept', 'import', 'destroy', 'undo')),
  who TEXT NOT NULL,
  command TEXT NOT NULL,
  source_hash TEXT NOT NULL,
  started_at TEXT NOT NULL,
  finished_at TEXT,
  result TEXT,
  counts TEXT NOT NULL,
  UNIQUE (stack_id, number),
  CHECK ((finished_at IS NULL) = (result IS NULL))
);

CREATE TABLE resources (
  id INTEGER PRIMARY KEY,
  stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
  host TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  registered INTEGER NOT NULL CHECK (registered IN (0, 1)),
  module TEXT NOT NULL,
  params TEXT NOT NULL,
  desired TEXT,
  actual TEXT,
  checksum TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'applied', 'failed', 'drift', 'orphaned')),
  provenance TEXT NOT NULL CHECK (provenance IN ('created', 'adopted', 'modified')),
  position INTEGER NOT NULL CHECK (position > 0),
  origin TEXT,
  carry TEXT,
  drift TEXT,
  drift_since TEXT,
  error TEXT,
  location TEXT,
  protect INTEGER NOT NULL CHECK (protect IN (0, 1)),
  run INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  last_applied TEXT,
  UNIQUE (stack_id, host, type, name, registered)
);

CREATE UNIQUE INDEX resources_in_order ON resources (stack_id, position);
CREATE INDEX resources_by_state ON resources (stack_id, state);

-- Who claimed a resource last. Apart from the wide rows, since every run writes all of these.
CREATE TABLE claims (
  resource_id INTEGER PRIMARY KEY REFERENCES resources (id) ON DELETE CASCADE,
  run INTEGER NOT NULL,
  task TEXT
);

CREATE TABLE operations (
  position INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  stack_id TEXT NOT NULL,
  host TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  registered INTEGER NOT NULL CHECK (registered IN (0, 1)),
  kind TEXT NOT NULL,
  task TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  body TEXT NOT NULL,
  location TEXT,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  result TEXT CHECK (result IN ('done', 'failed', 'not done')),
  CHECK ((ended_at IS NULL) = (result IS NULL))
);

CREATE INDEX operations_of_run ON operations (run_id);
CREATE INDEX operations_open ON operations (stack_id) WHERE result IS NULL;

CREATE TABLE commands (
  id TEXT PRIMARY KEY,
  operation_id TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
  stack_id TEXT NOT NULL,
  host TEXT NOT NULL,
  argv TEXT NOT NULL,
  process_group INTEGER NOT NULL,
  start_time INTEGER NOT NULL,
  boot TEXT NOT NULL,
  finished INTEGER NOT NULL CHECK (finished IN (0, 1))
);

CREATE INDEX commands_of_operation ON commands (operation_id);
CREATE INDEX commands_unfinished ON commands (stack_id, id) WHERE finished = 0;

CREATE TABLE events (
  run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL CHECK (seq > 0),
  at TEXT NOT NULL,
  type TEXT NOT NULL,
  address TEXT,
  data TEXT NOT NULL,
  PRIMARY KEY (run_id, seq)
);

CREATE TABLE outputs (
  stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  sensitive INTEGER NOT NULL CHECK (sensitive IN (0, 1)),
  updated_at TEXT NOT NULL,
  run INTEGER NOT NULL,
  PRIMARY KEY (stack_id, key)
);

-- The scope '' is the keyspace of the whole database; others are stacks.
CREATE TABLE kv (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (scope, key)
);

-- One JSON list per file: the numbers of a stat need more than 64 signed bits.
CREATE TABLE digests (
  host TEXT NOT NULL,
  path TEXT NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (host, path)
);

CREATE TABLE holders (
  stack_id TEXT PRIMARY KEY REFERENCES stacks (id) ON DELETE CASCADE,
  run_id TEXT NOT NULL,
  who TEXT NOT NULL,
  pid INTEGER NOT NULL,
  since TEXT NOT NULL,
  command TEXT NOT NULL,
  run INTEGER NOT NULL
);
