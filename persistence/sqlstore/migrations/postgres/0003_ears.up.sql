-- Where a worker that is ready hears of what is dealt to it: the end of the name of a
-- channel, and what the connection that listens there has locked.
ALTER TABLE {{.Prefix}}workers ADD COLUMN ear text COLLATE "C"

--bun:split

-- Who knows an ear can tell its worker to run a task: that is for those who can give it one
-- by a message. Who may only read does not see the workers.
CREATE POLICY ears ON {{.Prefix}}workers USING (has_table_privilege('{{.Prefix}}messages'::regclass, 'INSERT'))

--bun:split

ALTER TABLE {{.Prefix}}workers ENABLE ROW LEVEL SECURITY
