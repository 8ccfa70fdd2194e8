-- description: At most a tenth of the samples has a top caption that ten or more samples of the shard share; more points to a captioner that does not look.
-- severity: warn
-- stage: published
SELECT any_value(sample_id) AS sample_id, count(*) || ' samples: ' || top_caption AS problem
FROM published
GROUP BY top_caption
HAVING count(*) >= 10 AND count(*) > 0.1 * (SELECT count(*) FROM published)
