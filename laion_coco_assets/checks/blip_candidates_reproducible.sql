-- description: The seed and the revision of the model that was loaded are on record, so that the captions can be drawn again (invariant 3).
-- severity: error
-- stage: blip_candidates
SELECT NULL AS sample_id, 'a seed in the parquet metadata' AS expected, 'none' AS actual
FROM files WHERE stage = 'blip_candidates' AND settings ->> 'seed' IS NULL
UNION ALL
SELECT NULL, 'the revision of the model in the parquet metadata', 'none'
FROM files WHERE stage = 'blip_candidates' AND rows > 0 AND coalesce(models -> 'caption' ->> 'revision', '') = ''
