-- description: What is published is what the ledger says is published, each sample once.
-- severity: error
-- stage: published
-- needs: ledger
SELECT coalesce(row.sample_id, line.sample_id) AS sample_id,
    CASE WHEN line.sample_id IS NULL THEN 'published, but not by the ledger'
         WHEN row.sample_id IS NULL THEN 'published by the ledger, but not there'
         ELSE 'published ' || row.times || ' times' END AS problem
FROM (SELECT sample_id, count(*) AS times FROM published GROUP BY 1) AS row
FULL JOIN (SELECT sample_id FROM ledger WHERE status = 'published') AS line USING (sample_id)
WHERE row.sample_id IS NULL OR line.sample_id IS NULL OR row.times > 1
