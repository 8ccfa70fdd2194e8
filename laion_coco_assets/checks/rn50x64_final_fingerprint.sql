-- description: The file names its settings, the profile's where one is given, and the files it was made from (fetched_images, clip_l_top5), the ones there are now (invariants 2 and 4).
-- severity: error
-- stage: rn50x64_final
SELECT NULL AS sample_id, 'a fingerprint in the parquet metadata' AS expected, 'none' AS actual
FROM files WHERE stage = 'rn50x64_final' AND fingerprint IS NULL
UNION ALL
SELECT NULL, 'fingerprint ' || expected_fingerprint || ', as the profile has it', 'fingerprint ' || fingerprint
FROM files WHERE stage = 'rn50x64_final' AND expected_fingerprint IS NOT NULL AND fingerprint <> expected_fingerprint
UNION ALL
SELECT NULL, 'made from ' || inputs.input || ' ' || files.content || ', the file there now', 'made from ' || inputs.input || ' ' || inputs.content
FROM inputs JOIN files ON files.stage = inputs.input
WHERE inputs.stage = 'rn50x64_final' AND inputs.content <> files.content
UNION ALL
SELECT NULL, 'the content of ' || input || ', from which it was made, in the parquet metadata', 'none'
FROM (SELECT unnest(['fetched_images', 'clip_l_top5']) AS input)
WHERE input NOT IN (SELECT input FROM inputs WHERE stage = 'rn50x64_final' AND content <> '')
