-- description: Every ranked image has one row, in source order, and nothing else has (invariant 1).
-- severity: error
-- stage: rn50x64_final
-- needs: clip_l_top5
SELECT coalesce(ranked.sample_id, final.sample_id) AS sample_id,
    CASE WHEN final.sample_id IS NULL THEN 'row ' || ranked.row || ': ranked, but without a winner'
         WHEN ranked.sample_id IS NULL THEN 'row ' || final.row || ': a winner that was never ranked'
         ELSE 'row ' || final.row || ': position ' || final.position || ' in the file, ' || ranked.position || ' among ranked images'
    END AS problem
FROM (SELECT row, sample_id, file_row_number AS position FROM clip_l_top5) AS ranked
FULL JOIN (SELECT row, sample_id, file_row_number AS position FROM rn50x64_final) AS final USING (row, sample_id)
WHERE ranked.position IS DISTINCT FROM final.position
