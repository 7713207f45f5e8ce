-- Instants are microseconds since 1970 in UTC, NULL when absent. Text is
-- compared byte by byte.

CREATE TABLE {{.Prefix}}workflows (
  id          TEXT    NOT NULL PRIMARY KEY,
  version     INTEGER NOT NULL,
  removed_at  INTEGER NOT NULL, -- version at which a stage was last removed
  application TEXT    NOT NULL,
  config_id   TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  sort_at     INTEGER NOT NULL, -- start, or the largest integer before it
  created_at  INTEGER
) WITHOUT ROWID

--bun:split

-- The headers apart: every commit rewrites a row of workflows, few a header.
CREATE TABLE {{.Prefix}}headers (
  workflow_id TEXT NOT NULL PRIMARY KEY,
  body        BLOB NOT NULL
)

--bun:split

CREATE INDEX {{.Prefix}}workflows_sort ON {{.Prefix}}workflows (sort_at)

--bun:split

CREATE INDEX {{.Prefix}}workflows_status ON {{.Prefix}}workflows (status, sort_at)

--bun:split

CREATE INDEX {{.Prefix}}workflows_application ON {{.Prefix}}workflows (application, status, sort_at)

--bun:split

CREATE INDEX {{.Prefix}}workflows_config ON {{.Prefix}}workflows (config_id, status, sort_at) WHERE config_id <> ''

--bun:split

CREATE TABLE {{.Prefix}}stages (
  workflow_id TEXT    NOT NULL,
  id          TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  ref         TEXT    NOT NULL,
  round       INTEGER NOT NULL,
  position    INTEGER NOT NULL,
  body        BLOB    NOT NULL,
  PRIMARY KEY (workflow_id, id)
) WITHOUT ROWID

--bun:split

CREATE TABLE {{.Prefix}}messages (
  seq          INTEGER PRIMARY KEY,
  id           TEXT    NOT NULL UNIQUE,
  kind         TEXT    NOT NULL,
  lane         INTEGER NOT NULL,
  workflow_id  TEXT    NOT NULL,
  due          INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  worker       INTEGER, -- fence of the worker that leases it; NULL: free
  lease        TEXT,    -- token; outlives the worker's lease until somebody else has the message
  attempts     INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  last_error   TEXT    NOT NULL,
  body         BLOB    NOT NULL
)

--bun:split

CREATE INDEX {{.Prefix}}messages_free ON {{.Prefix}}messages (lane, due) WHERE worker IS NULL

--bun:split

CREATE INDEX {{.Prefix}}messages_exhausted ON {{.Prefix}}messages (due) WHERE worker IS NULL AND attempts >= max_attempts

--bun:split

CREATE INDEX {{.Prefix}}messages_leased ON {{.Prefix}}messages (worker) WHERE worker IS NOT NULL

--bun:split

-- Those that are leased are few, and found by their workers.
CREATE INDEX {{.Prefix}}messages_workflow ON {{.Prefix}}messages (workflow_id) WHERE worker IS NULL

--bun:split

-- AUTOINCREMENT: a fence is never used twice, whatever was deleted.
CREATE TABLE {{.Prefix}}workers (
  fence   INTEGER PRIMARY KEY AUTOINCREMENT,
  id      TEXT    NOT NULL UNIQUE,
  expires INTEGER NOT NULL
)

--bun:split

CREATE TABLE {{.Prefix}}dead_letters (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  id           TEXT    NOT NULL UNIQUE,
  kind         TEXT    NOT NULL,
  lane         INTEGER NOT NULL,
  workflow_id  TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  died_at      INTEGER NOT NULL,
  attempts     INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  reason       TEXT    NOT NULL,
  last_error   TEXT    NOT NULL,
  body         BLOB    NOT NULL
)

--bun:split

CREATE INDEX {{.Prefix}}dead_letters_workflow ON {{.Prefix}}dead_letters (workflow_id)

--bun:split

-- Places under a concurrency limit, and turns to get one; seq is their order.
CREATE TABLE {{.Prefix}}places (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  key         TEXT    NOT NULL,
  workflow_id TEXT    NOT NULL,
  waiting     INTEGER NOT NULL,
  lim         INTEGER NOT NULL,
  UNIQUE (key, workflow_id)
)

--bun:split

CREATE INDEX {{.Prefix}}places_workflow ON {{.Prefix}}places (workflow_id)

--bun:split

CREATE INDEX {{.Prefix}}places_order ON {{.Prefix}}places (key, waiting)
