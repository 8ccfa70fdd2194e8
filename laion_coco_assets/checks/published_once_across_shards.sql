-- description: A sample is published in only one shard.
-- severity: warn
-- stage: published
-- scope: all shards
SELECT sample_id, 'one shard' AS expected, string_agg(DISTINCT shard, ', ' ORDER BY shard) AS actual
FROM published
GROUP BY sample_id
HAVING count(DISTINCT shard) > 1
