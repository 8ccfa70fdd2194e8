-- description: At least a tenth of the shard's images came; fewer points to the network or the resolver, not to dead links.
-- severity: warn
-- stage: fetched_images
SELECT NULL AS sample_id, ok || ' of ' || rows || ' rows are ok' AS problem
FROM (SELECT count(*) FILTER (status = 'ok') AS ok, count(*) AS rows FROM fetched_images)
WHERE ok < 0.1 * rows
