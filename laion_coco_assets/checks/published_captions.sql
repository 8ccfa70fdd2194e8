-- description: The top caption is one of all_captions, which are distinct, in falling order of their similarities, list by list of one length.
-- severity: error
-- stage: published
SELECT sample_id, problem.expected, problem.actual
FROM (
    SELECT sample_id, CASE
        WHEN coalesce(len(all_captions), 0) = 0 THEN {'expected': 'captions', 'actual': 'none'}
        WHEN len(all_captions) IS DISTINCT FROM len(all_similarities) OR len(all_captions) IS DISTINCT FROM len(all_multiplicities) THEN
            {'expected': 'lists of one length', 'actual': len(all_captions) || ' captions, ' || coalesce(len(all_similarities)::VARCHAR, 'no') || ' similarities, ' || coalesce(len(all_multiplicities)::VARCHAR, 'no') || ' multiplicities'}
        WHEN NOT coalesce(list_contains(all_captions, top_caption), false) THEN {'expected': 'top_caption is one of all_captions', 'actual': 'top_caption is ' || coalesce(top_caption, 'null')}
        WHEN len(list_distinct(all_captions)) <> len(all_captions) THEN {'expected': 'distinct captions', 'actual': len(list_distinct(all_captions)) || ' distinct ones of ' || len(all_captions)}
        WHEN all_similarities <> list_reverse_sort(all_similarities) THEN {'expected': 'similarities in falling order', 'actual': all_similarities::VARCHAR}
        WHEN len(rn50x64_similarities) > len(all_captions) THEN {'expected': 'at most ' || len(all_captions) || ' final scores, one a caption', 'actual': len(rn50x64_similarities)::VARCHAR}
    END AS problem
    FROM published
)
WHERE problem IS NOT NULL
