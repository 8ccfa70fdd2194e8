-- description: The winner is the kept caption with the best final score, or the first ranker's best if it is the only one; all scores are kept, and are cosine similarities (invariant 5).
-- severity: error
-- stage: rn50x64_final
-- needs: clip_l_top5
SELECT sample_id, problem.expected, 'row ' || coalesce(row::VARCHAR, 'null') || ': ' || problem.actual AS actual
FROM (
    SELECT final.sample_id, final.row, CASE
        WHEN (final.scores IS NULL) <> one_ranker THEN
            {'expected': CASE WHEN one_ranker THEN 'no scores: one ranker decides' ELSE 'scores' END, 'actual': coalesce(len(final.scores)::VARCHAR, 'no') || ' scores'}
        WHEN len(final.scores) <> len("top") THEN {'expected': len("top") || ' scores, one per kept caption', 'actual': len(final.scores) || ' scores'}
        WHEN len(list_filter(final.scores, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)) > 0 THEN {'expected': 'cosine similarities', 'actual': final.scores::VARCHAR}
        WHEN (final.alt_text_score IS NULL) <> (one_ranker OR ranked.alt_text_score IS NULL) THEN
            {'expected': 'a score of the alt text if the first ranker has one and there is a final ranker', 'actual': coalesce('score ' || final.alt_text_score, 'none')}
        -- NaN is tested by itself: parquet's statistics, from which DuckDB takes a column's range, leave it out.
        WHEN isnan(final.alt_text_score) OR abs(final.alt_text_score) > 1.000001 THEN
            {'expected': 'a cosine similarity of the alt text', 'actual': 'score ' || final.alt_text_score}
        WHEN (winner, caption) IS DISTINCT FROM ("top"[best], top_captions[best]) THEN
            {'expected': 'winner ' || coalesce("top"[best]::VARCHAR, 'null') || ': ' || coalesce(top_captions[best], 'null'), 'actual': 'winner ' || coalesce(winner::VARCHAR, 'null') || ': ' || coalesce(caption, 'null')}
    END AS problem
    FROM (SELECT *, coalesce(list_position(scores, list_max(scores)), 1) AS best FROM rn50x64_final) AS final
    JOIN clip_l_top5 AS ranked USING (row),
        (SELECT coalesce(settings ->> 'model', '') = '' AS one_ranker FROM files WHERE stage = 'rn50x64_final')
)
WHERE problem IS NOT NULL
