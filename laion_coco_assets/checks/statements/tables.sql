-- The tables that rules read beside the stages' rows. `file_records` is made from the files' metadata.
CREATE TEMP TABLE files AS
SELECT * REPLACE (settings::JSON AS settings, models::JSON AS models) FROM file_records;
CREATE TEMP TABLE contract (stage VARCHAR, position BIGINT, name VARCHAR, type VARCHAR);
CREATE TEMP TABLE columns (stage VARCHAR, position BIGINT, name VARCHAR, type VARCHAR);
