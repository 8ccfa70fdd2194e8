-- description: Every $what has one row, in source order, and there are no other rows (invariant 1).
-- severity: error
-- stage: $stage
-- needs: $source
SELECT coalesce(earlier.sample_id, own.sample_id) AS sample_id,
    coalesce('row ' || earlier.row || ' at position ' || earlier.position || ', its place among ${what}s', 'no row, because there is no such $what') AS expected,
    coalesce('row ' || own.row || ' at position ' || own.position, 'no row') AS actual
FROM (SELECT row, sample_id, row_number() OVER (ORDER BY row) AS position FROM "$source" WHERE $where) AS earlier
FULL JOIN (SELECT row, sample_id, file_row_number + 1 AS position FROM "$stage") AS own USING (row, sample_id)
WHERE earlier.position IS DISTINCT FROM own.position
