-- description: No row that the current removal list names is published (LAION_COCO_REMOVALS, --removals).
-- severity: error
-- stage: published
SELECT sample_id, 'not published' AS expected, 'published, on the removal list: ' || entry AS actual
FROM published JOIN removed USING (shard, sample_id)
