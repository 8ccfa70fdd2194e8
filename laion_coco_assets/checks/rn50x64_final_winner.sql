-- description: The winner is the kept caption with the best final score, or the first ranker's best where there is one ranker; all scores are kept (invariant 5).
-- severity: error
-- stage: rn50x64_final
-- needs: clip_l_top5
SELECT sample_id, 'row ' || row || ': ' || problem AS problem
FROM (
    SELECT final.sample_id, final.row, CASE
        WHEN (final.scores IS NULL) <> one_ranker THEN 'scores and settings do not fit'
        WHEN len(final.scores) <> len("top") THEN len(final.scores) || ' scores of ' || len("top") || ' kept captions'
        WHEN len(list_filter(final.scores, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)) > 0 THEN 'a score that is no cosine'
        WHEN (final.alt_text_score IS NULL) <> (one_ranker OR ranked.alt_text_score IS NULL) THEN 'the alt text''s score does not fit'
        WHEN (winner, caption) IS DISTINCT FROM ("top"[best], top_captions[best]) THEN 'the winner is ' || winner || ', the best is ' || "top"[best]
    END AS problem
    FROM (SELECT *, coalesce(list_position(scores, list_max(scores)), 1) AS best FROM rn50x64_final) AS final
    JOIN clip_l_top5 AS ranked USING (row),
        (SELECT coalesce(settings ->> 'model', '') = '' AS one_ranker FROM files WHERE stage = 'rn50x64_final')
)
WHERE problem IS NOT NULL
