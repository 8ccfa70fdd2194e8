-- description: Every source row ends in the ledger once: source rows = published + rejected (invariant 1).
-- severity: error
-- stage: published
-- needs: ledger
SELECT sample_id, 'row ' || row || ' stands at position ' || position AS problem
FROM (SELECT sample_id, row, file_row_number AS position FROM ledger)
WHERE row IS DISTINCT FROM position
UNION ALL
SELECT NULL, rows || ' rows in the ledger, ' || coalesce(source_rows::VARCHAR, 'an unknown number') || ' in the source'
FROM files WHERE stage = 'ledger' AND rows IS DISTINCT FROM source_rows
UNION ALL
SELECT NULL, published || ' rows published, the ledger counts ' || counted
FROM (SELECT count(*) AS published FROM published), (SELECT count(*) FILTER (status = 'published') AS counted FROM ledger)
WHERE published <> counted
