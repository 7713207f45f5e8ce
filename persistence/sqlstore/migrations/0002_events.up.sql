-- A row holds events of one commit that follow each other. AUTOINCREMENT: a reader goes
-- on behind the last number that he has seen, whatever was deleted.
CREATE TABLE {{.Prefix}}events (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  workflow_id TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  first       INTEGER NOT NULL, -- index of the first among the commit's events
  events      INTEGER NOT NULL, -- how many
  body        BLOB    NOT NULL,
  UNIQUE (workflow_id, version, first)
)
