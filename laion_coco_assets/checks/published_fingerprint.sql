-- description: The file names the settings and the input files it was made with, and they are the ones there are now (invariants 2 and 4).
-- severity: error
-- stage: published
SELECT NULL AS sample_id, 'a fingerprint in the parquet metadata' AS expected, 'none' AS actual
FROM files WHERE stage = 'published' AND fingerprint IS NULL
UNION ALL
SELECT NULL, 'fingerprint ' || expected_fingerprint || ', as the profile has it', 'fingerprint ' || fingerprint
FROM files WHERE stage = 'published' AND expected_fingerprint IS NOT NULL AND fingerprint <> expected_fingerprint
UNION ALL
SELECT NULL, 'made from ' || inputs.input || ' ' || files.content || ', the file there now', 'made from ' || inputs.input || ' ' || inputs.content
FROM inputs JOIN files ON files.stage = inputs.input
WHERE inputs.stage = 'published' AND inputs.content <> files.content
