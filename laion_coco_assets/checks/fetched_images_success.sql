-- description: At least a tenth of the shard's images came; fewer point to the network or the resolver, not to dead links.
-- severity: warn
-- stage: fetched_images
SELECT NULL AS sample_id, 'at least ' || ceil(0.1 * rows)::BIGINT || ' of ' || rows || ' rows ok' AS expected, ok || ' ok' AS actual
FROM (SELECT count(*) FILTER (status = 'ok') AS ok, count(*) AS rows FROM fetched_images)
WHERE ok < 0.1 * rows
