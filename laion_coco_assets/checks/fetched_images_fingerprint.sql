-- description: The file names the settings and the input files it was made with, and they are the ones there are now (invariants 2 and 4).
-- severity: error
-- stage: fetched_images
SELECT NULL AS sample_id, problem
FROM (
    SELECT 'no fingerprint in the parquet metadata' AS problem
    FROM files WHERE stage = 'fetched_images' AND fingerprint IS NULL
    UNION ALL
    SELECT 'made with fingerprint ' || fingerprint || ', the profile has ' || expected_fingerprint
    FROM files WHERE stage = 'fetched_images' AND expected_fingerprint IS NOT NULL AND fingerprint <> expected_fingerprint
    UNION ALL
    SELECT 'made from ' || inputs.input || ' ' || inputs.content || ', the file there now is ' || files.content
    FROM inputs JOIN files ON files.stage = inputs.input
    WHERE inputs.stage = 'fetched_images' AND inputs.content <> files.content
)
