-- description: A sample's captions are the same wherever it stands, for the same image and settings (invariant 3).
-- severity: error
-- stage: blip_candidates
-- needs: fetched_images
-- scope: all shards
SELECT sample_id, 'different captions in shards ' || string_agg(DISTINCT shard, ', ' ORDER BY shard) AS problem
FROM (
    SELECT drawn.sample_id, drawn.shard, image.sha256, drawn.file_fingerprint, drawn.captions, drawn.multiplicities
    FROM blip_candidates AS drawn JOIN fetched_images AS image USING (shard, row)
)
GROUP BY sample_id, sha256, file_fingerprint
HAVING count(DISTINCT (captions, multiplicities)) > 1
