-- description: The whole shard was published, not only its first samples in a trial.
-- severity: warn
-- stage: published
SELECT NULL AS sample_id, 'all samples of the shard' AS expected, 'a trial on its first ' || max_samples AS actual
FROM files WHERE stage = 'published' AND max_samples IS NOT NULL
