-- description: The file records its settings (those of the profile, if one is given) and the files it was made from ($reads), which are the current ones (invariants 2 and 4).
-- severity: error
-- stage: $stage
SELECT NULL AS sample_id, 'a fingerprint in the parquet metadata' AS expected, 'none' AS actual
FROM files WHERE stage = '$stage' AND fingerprint IS NULL
UNION ALL
SELECT NULL, 'fingerprint ' || expected_fingerprint || ', as the profile has it', 'fingerprint ' || fingerprint
FROM files WHERE stage = '$stage' AND expected_fingerprint IS NOT NULL AND fingerprint <> expected_fingerprint
UNION ALL
SELECT NULL, 'made from ' || inputs.input || ' ' || files.content || ', the current file', 'made from ' || inputs.input || ' ' || inputs.content
FROM inputs JOIN files ON files.stage = inputs.input
WHERE inputs.stage = '$stage' AND inputs.content <> files.content
UNION ALL
SELECT NULL, 'the content of ' || input || ', from which it was made, in the parquet metadata', 'none'
FROM (SELECT unnest([$inputs]) AS input)
WHERE input NOT IN (SELECT input FROM inputs WHERE stage = '$stage' AND content <> '')
