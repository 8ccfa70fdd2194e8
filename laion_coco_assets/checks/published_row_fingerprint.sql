-- description: Each row carries the fingerprint of the file it stands in (invariants 3 and 4).
-- severity: error
-- stage: published
SELECT sample_id, 'fingerprint ' || coalesce(of_file, 'null') || ', the file''s' AS expected, 'fingerprint ' || coalesce(fingerprint, 'null') AS actual
FROM published, (SELECT fingerprint AS of_file FROM files WHERE stage = 'published')
WHERE fingerprint IS DISTINCT FROM of_file
