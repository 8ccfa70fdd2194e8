-- description: The kept captions are the best by score, as many as the settings say, best first, ties in sampling order, each with its text and score.
-- severity: error
-- stage: clip_l_top5
-- needs: blip_candidates
SELECT sample_id, coalesce(best.i::VARCHAR, 'scores') || ' by index, with their texts and scores' AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': ' || coalesce("top"::VARCHAR, 'null') || CASE
        WHEN "top"::BIGINT[] IS DISTINCT FROM best.i THEN ''
        WHEN top_captions IS DISTINCT FROM best.caption THEN ' with other texts'
        ELSE ' with other scores'
    END AS actual
FROM (
    SELECT sample_id, row, "top", top_captions, top_scores, {
        'i': best,
        'caption': list_transform(best, lambda i: captions[i + 1]),
        'score': list_transform(best, lambda i: scores[i + 1])
    } AS best
    FROM (
        SELECT sample_id, row, captions, "top", top_captions, top_scores, scores, list_transform(
            list_sort(list_transform(range(len(scores)), lambda i: {'score': -scores[i + 1], 'i': i}))[:keep],
            lambda entry: entry.i
        ) AS best
        FROM clip_l_top5 JOIN blip_candidates USING (row, sample_id),
            (SELECT (settings ->> 'keep')::BIGINT AS keep FROM files WHERE stage = 'clip_l_top5' AND (settings ->> 'keep') IS NOT NULL)
    )
)
WHERE ("top"::BIGINT[], top_captions, top_scores) IS DISTINCT FROM (best.i, best.caption, best.score)
UNION ALL
SELECT NULL, 'how many are kept, in the settings in the parquet metadata', 'none'
FROM files WHERE stage = 'clip_l_top5' AND (settings ->> 'keep') IS NULL
