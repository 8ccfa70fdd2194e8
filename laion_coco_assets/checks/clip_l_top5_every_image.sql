-- description: Every captioned image has one row, in source order, and nothing else has (invariant 1).
-- severity: error
-- stage: clip_l_top5
-- needs: blip_candidates
SELECT coalesce(drawn.sample_id, ranked.sample_id) AS sample_id,
    coalesce('row ' || drawn.row || ' at position ' || drawn.position || ', its place among captioned images', 'no row, for want of captions') AS expected,
    coalesce('row ' || ranked.row || ' at position ' || ranked.position, 'no row') AS actual
FROM (SELECT row, sample_id, row_number() OVER (ORDER BY row) AS position FROM blip_candidates WHERE reason IS NULL) AS drawn
FULL JOIN (SELECT row, sample_id, file_row_number + 1 AS position FROM clip_l_top5) AS ranked USING (row, sample_id)
WHERE drawn.position IS DISTINCT FROM ranked.position
