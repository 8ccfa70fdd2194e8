-- description: Nothing is published that the removal list names, as the list is now (LAION_COCO_REMOVALS, --removals).
-- severity: error
-- stage: published
SELECT sample_id, 'not published' AS expected, 'published, on the removal list: ' || entry AS actual
FROM published JOIN removed USING (shard, sample_id)
