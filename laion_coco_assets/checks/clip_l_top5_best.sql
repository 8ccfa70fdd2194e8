-- description: The kept captions are the best by score, best first, ties in sampling order, and stand there with their texts and scores.
-- severity: error
-- stage: clip_l_top5
-- needs: blip_candidates
SELECT sample_id, 'row ' || row || ': kept ' || "top"::VARCHAR || ', the best are ' || best::VARCHAR AS problem
FROM (
    SELECT sample_id, row, captions, "top", top_captions, top_scores, scores, list_transform(
        list_sort(list_transform(range(len(scores)), lambda i: {'score': -scores[i + 1], 'i': i}))[:keep],
        lambda each: each.i
    ) AS best
    FROM clip_l_top5 JOIN blip_candidates USING (row, sample_id),
        (SELECT (settings ->> 'keep')::BIGINT AS keep FROM files WHERE stage = 'clip_l_top5')
)
WHERE "top"::BIGINT[] IS DISTINCT FROM best
    OR top_captions IS DISTINCT FROM list_transform(best, lambda i: captions[i + 1])
    OR top_scores IS DISTINCT FROM list_transform(best, lambda i: scores[i + 1])
