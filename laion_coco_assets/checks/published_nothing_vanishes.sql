-- description: Every source row is in the ledger once: source rows = published + rejected (invariant 1).
-- severity: error
-- stage: published
-- needs: ledger
SELECT sample_id, 'row ' || position || ' at position ' || position AS expected, 'row ' || coalesce(row::VARCHAR, 'null') AS actual
FROM (SELECT sample_id, row, file_row_number AS position FROM ledger)
WHERE row IS DISTINCT FROM position
UNION ALL
SELECT NULL, coalesce(least(source_rows, max_samples)::VARCHAR, 'an unknown number of') || ' rows in the ledger, as in the source', rows || ' rows'
FROM files WHERE stage = 'ledger' AND rows IS DISTINCT FROM least(source_rows, max_samples)
UNION ALL
SELECT NULL, counted || ' rows published, as the ledger counts', published || ' rows'
FROM (SELECT count(*) AS published FROM published), (SELECT count(*) FILTER (status = 'published') AS counted FROM ledger)
WHERE published <> counted
