-- A stage's rows under its name, each with its shard and how its file was made.
CREATE TEMP VIEW "{stage}" AS
SELECT rows.*, files.shard, files.fingerprint AS file_fingerprint, files.device
FROM "{stage}_rows" AS rows
JOIN files ON files.stage = '{stage}' AND files.path = rows.file_name
