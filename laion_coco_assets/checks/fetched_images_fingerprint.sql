-- description: The file names its settings, the profile's where one is given, and the content of the source it was made from; the source as it is now is not looked at (invariants 2 and 4).
-- severity: error
-- stage: fetched_images
SELECT NULL AS sample_id, 'a fingerprint in the parquet metadata' AS expected, 'none' AS actual
FROM files WHERE stage = 'fetched_images' AND fingerprint IS NULL
UNION ALL
SELECT NULL, 'fingerprint ' || expected_fingerprint || ', as the profile has it', 'fingerprint ' || fingerprint
FROM files WHERE stage = 'fetched_images' AND expected_fingerprint IS NOT NULL AND fingerprint <> expected_fingerprint
UNION ALL
SELECT NULL, 'the content of the source, from which it was made, in the parquet metadata', 'none'
WHERE NOT EXISTS (SELECT 1 FROM inputs WHERE stage = 'fetched_images' AND input = 'source' AND content <> '')
