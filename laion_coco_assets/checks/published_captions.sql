-- description: Captions are distinct, not blank and drawn at least once, in falling order of similarity, in lists of equal length. The top caption is the one that the final ranker finds most similar, the first of equal ones; with one ranker it is the first of all.
-- severity: error
-- stage: published
SELECT sample_id, problem.expected, problem.actual
FROM (
    SELECT sample_id, CASE
        WHEN coalesce(len(all_captions), 0) = 0 THEN {'expected': 'captions', 'actual': 'none'}
        WHEN len(all_captions) IS DISTINCT FROM len(all_similarities) OR len(all_captions) IS DISTINCT FROM len(all_multiplicities) THEN
            {'expected': 'lists of equal length', 'actual': len(all_captions) || ' captions, ' || coalesce(len(all_similarities)::VARCHAR, 'no') || ' similarities, ' || coalesce(len(all_multiplicities)::VARCHAR, 'no') || ' multiplicities'}
        WHEN NOT coalesce(list_contains(all_captions, top_caption), false) THEN {'expected': 'top_caption is one of all_captions', 'actual': 'top_caption is ' || coalesce(top_caption, 'null')}
        WHEN len(list_filter(all_captions, lambda caption: regexp_full_match(coalesce(caption, ''), '[\s\p{Z}\x1c-\x1f\x{85}\x0b]*'))) > 0 THEN {'expected': 'captions with text', 'actual': 'a blank caption'}
        WHEN len(list_distinct(all_captions)) <> len(all_captions) THEN {'expected': 'distinct captions', 'actual': len(list_distinct(all_captions)) || ' distinct ones of ' || len(all_captions)}
        WHEN len(list_filter(all_multiplicities, lambda times: NOT coalesce(times >= 1, false))) > 0 THEN {'expected': 'multiplicities of at least 1', 'actual': all_multiplicities::VARCHAR}
        WHEN all_similarities <> list_reverse_sort(all_similarities) THEN {'expected': 'similarities in falling order', 'actual': all_similarities::VARCHAR}
        WHEN top_caption IS DISTINCT FROM all_captions[best] THEN
            {'expected': 'top_caption is the best: ' || coalesce(all_captions[best], 'null'), 'actual': 'top_caption is ' || top_caption}
    END AS problem
    FROM (SELECT *, coalesce(list_position(final_similarities, list_max(final_similarities)), 1) AS best FROM published)
)
WHERE problem IS NOT NULL
