-- description: Every candidate has its score, a cosine similarity, and so has every alt text that is not blank (invariant 5).
-- severity: error
-- stage: clip_l_top5
-- needs: blip_candidates, fetched_images
SELECT sample_id, 'row ' || row || ': ' || problem AS problem
FROM (
    SELECT ranked.sample_id, ranked.row, CASE
        WHEN scores IS NULL THEN 'no scores'
        WHEN len(scores) <> len(captions) THEN len(scores) || ' scores of ' || len(captions) || ' captions'
        WHEN len(list_filter(scores, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)) > 0 THEN 'a score that is no cosine'
        WHEN (alt_text_score IS NULL) <> (regexp_full_match(coalesce(TEXT, ''), '[\s\p{Z}\x1c-\x1f\x{85}\x0b]*')) THEN 'alt text and its score do not fit'
        WHEN NOT coalesce(abs(alt_text_score) <= 1.000001, true) THEN 'the alt text''s score is no cosine'
    END AS problem
    FROM clip_l_top5 AS ranked
    JOIN blip_candidates AS drawn USING (row)
    JOIN fetched_images AS image USING (row)
)
WHERE problem IS NOT NULL
