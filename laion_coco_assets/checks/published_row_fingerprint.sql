-- description: Each row carries the fingerprint of the file it stands in (invariants 3 and 4).
-- severity: error
-- stage: published
SELECT sample_id, 'fingerprint ' || fingerprint || ', the file has ' || expected AS problem
FROM published, (SELECT fingerprint AS expected FROM files WHERE stage = 'published')
WHERE fingerprint IS DISTINCT FROM expected
