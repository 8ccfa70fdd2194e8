-- description: A sample has the same captions in every shard, for the same image, settings and device; rounding may change one draw in a million (invariant 3).
-- severity: warn
-- stage: blip_candidates
-- needs: fetched_images
-- scope: all shards
SELECT sample_id, 'the same captions everywhere' AS expected,
    count(DISTINCT (captions, multiplicities)) || ' different lists in shards ' || string_agg(DISTINCT shard, ', ' ORDER BY shard) AS actual
FROM (
    SELECT drawn.sample_id, drawn.shard, image.sha256, drawn.file_fingerprint, drawn.device, drawn.captions, drawn.multiplicities
    FROM blip_candidates AS drawn JOIN fetched_images AS image USING (shard, row)
    -- Captions of a stale file are those of the images before.
    JOIN inputs ON inputs.stage = 'blip_candidates' AND inputs.shard = drawn.shard AND inputs.input = 'fetched_images'
    JOIN files AS source ON source.stage = inputs.input AND source.shard = inputs.shard AND source.content = inputs.content
    WHERE drawn.sample_id IN (SELECT sample_id FROM blip_candidates GROUP BY 1 HAVING count(*) > 1)
)
GROUP BY sample_id, sha256, file_fingerprint, device
HAVING count(DISTINCT (captions, multiplicities)) > 1
