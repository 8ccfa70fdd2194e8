-- description: What is published is what the ledger says is published, each sample once.
-- severity: error
-- stage: published
-- needs: ledger
SELECT coalesce(row.sample_id, line.sample_id) AS sample_id,
    CASE WHEN line.sample_id IS NULL THEN 'rejected by the ledger, or not in it' ELSE 'published once, by the ledger' END AS expected,
    'rows in published: ' || coalesce(row.times, 0) AS actual
FROM (SELECT sample_id, count(*) AS times FROM published GROUP BY 1) AS row
FULL JOIN (SELECT sample_id FROM ledger WHERE status = 'published') AS line USING (sample_id)
WHERE row.sample_id IS NULL OR line.sample_id IS NULL OR row.times > 1
