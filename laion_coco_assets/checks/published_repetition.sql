-- description: At most a tenth of the samples has a top caption that ten or more samples of the shard share; more points to a captioner that does not look.
-- severity: warn
-- stage: published
SELECT any_value(sample_id) AS sample_id, 'at most ' || greatest(9, floor(0.1 * rows)::BIGINT) || ' of ' || rows || ' samples with one top caption' AS expected,
    count(*) || ' samples: ' || coalesce(top_caption, 'null') AS actual
FROM published, (SELECT count(*) AS rows FROM published)
GROUP BY top_caption, rows
HAVING count(*) >= 10 AND count(*) > 0.1 * rows
