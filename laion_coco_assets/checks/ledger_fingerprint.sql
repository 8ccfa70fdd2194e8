-- description: The ledger has the same settings and the same input files as the published file beside it (invariants 2 and 4).
-- severity: error
-- stage: published
-- needs: ledger
SELECT NULL AS sample_id, 'fingerprint ' || coalesce(own.fingerprint, 'null') || ', that of the published file' AS expected,
    'fingerprint ' || coalesce(line.fingerprint, 'null') AS actual
FROM (SELECT fingerprint FROM files WHERE stage = 'published') AS own, (SELECT fingerprint FROM files WHERE stage = 'ledger') AS line
WHERE own.fingerprint IS DISTINCT FROM line.fingerprint
UNION ALL
SELECT NULL, coalesce('made from ' || input || ' ' || own.content, 'not made from ' || input) || ', as the published file',
    coalesce('made from ' || input || ' ' || line.content, 'not made from ' || input)
FROM (SELECT input, content FROM inputs WHERE stage = 'published') AS own
FULL JOIN (SELECT input, content FROM inputs WHERE stage = 'ledger') AS line USING (input)
WHERE own.content IS DISTINCT FROM line.content
