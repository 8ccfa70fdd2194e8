-- description: At most a tenth of the shard's samples share one top caption, if these are ten or more; a larger share points to a captioner that ignores the image.
-- severity: warn
-- stage: published
SELECT any_value(sample_id) AS sample_id, 'at most ' || greatest(9, floor(0.1 * rows)::BIGINT) || ' of ' || rows || ' samples with one top caption' AS expected,
    count(*) || ' samples: ' || coalesce(top_caption, 'null') AS actual
FROM published, (SELECT count(*) AS rows FROM published)
GROUP BY top_caption, rows
HAVING count(*) >= 10 AND count(*) > 0.1 * rows
