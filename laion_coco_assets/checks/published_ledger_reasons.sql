-- description: A ledger row is published without reason or detail, or rejected at a stage for a reason of that stage's closed list (invariant 1).
-- severity: error
-- stage: published
-- needs: ledger
SELECT sample_id, 'published without reason or detail, or rejected at a stage for a reason of its closed list' AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': ' || coalesce(status, 'no status') || ' at ' || coalesce(stage, 'no stage') || ', reason ' || coalesce(reason, 'none') || coalesce(', detail ' || detail, '') AS actual
FROM ledger
WHERE NOT coalesce(
    (status = 'published' AND stage = 'published' AND reason IS NULL AND detail IS NULL)
    OR (status = 'rejected' AND (stage, reason) IN (SELECT (stage, reason) FROM reasons)),
    false
)
