-- description: Every candidate has a score, a cosine similarity, and so has every alt text that is not blank (invariant 5).
-- severity: error
-- stage: clip_l_top5
-- needs: blip_candidates, fetched_images
SELECT sample_id, problem.expected, 'row ' || coalesce(row::VARCHAR, 'null') || ': ' || problem.actual AS actual
FROM (
    SELECT ranked.sample_id, ranked.row, CASE
        WHEN len(scores) IS DISTINCT FROM len(captions) THEN
            {'expected': coalesce(len(captions)::VARCHAR, 'no') || ' scores, one per caption', 'actual': coalesce(len(scores)::VARCHAR, 'no') || ' scores'}
        WHEN len(list_filter(scores, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)) > 0 THEN
            {'expected': 'cosine similarities', 'actual': list_filter(scores, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)::VARCHAR}
        WHEN (alt_text_score IS NULL) <> (regexp_full_match(coalesce(TEXT, ''), '[\s\p{Z}\x1c-\x1f\x{85}\x0b]*')) THEN
            {'expected': 'a score of the alt text if it is not blank', 'actual': coalesce('score ' || alt_text_score || ' of a blank alt text', 'none')}
        -- NaN is tested by itself: parquet's statistics, from which DuckDB takes a column's range, leave it out.
        WHEN isnan(alt_text_score) OR abs(alt_text_score) > 1.000001 THEN
            {'expected': 'a cosine similarity of the alt text', 'actual': alt_text_score::VARCHAR}
    END AS problem
    FROM clip_l_top5 AS ranked
    JOIN blip_candidates AS drawn USING (row)
    JOIN fetched_images AS image USING (row)
)
WHERE problem IS NOT NULL
