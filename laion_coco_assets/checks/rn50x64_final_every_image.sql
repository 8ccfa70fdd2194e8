-- description: Every ranked image has one row, in source order, and nothing else has (invariant 1).
-- severity: error
-- stage: rn50x64_final
-- needs: clip_l_top5
SELECT coalesce(ranked.sample_id, final.sample_id) AS sample_id,
    coalesce('row ' || ranked.row || ' at position ' || ranked.position || ', its place among ranked images', 'no row, for want of a ranking') AS expected,
    coalesce('row ' || final.row || ' at position ' || final.position, 'no row') AS actual
FROM (SELECT row, sample_id, file_row_number + 1 AS position FROM clip_l_top5) AS ranked
FULL JOIN (SELECT row, sample_id, file_row_number + 1 AS position FROM rn50x64_final) AS final USING (row, sample_id)
WHERE ranked.position IS DISTINCT FROM final.position
