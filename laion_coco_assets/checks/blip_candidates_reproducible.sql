-- description: The seed and the revision of the model that was loaded are on record, so that the captions can be drawn again (invariant 3).
-- severity: error
-- stage: blip_candidates
SELECT NULL AS sample_id, problem
FROM (
    SELECT CASE
        WHEN settings ->> 'seed' IS NULL THEN 'no seed in the parquet metadata'
        WHEN rows > 0 AND coalesce(models -> 'caption' ->> 'revision', '') = '' THEN 'no revision of the model in the parquet metadata'
    END AS problem
    FROM files WHERE stage = 'blip_candidates'
)
WHERE problem IS NOT NULL
