-- description: The top caption is one of all_captions, which are distinct, in falling order of their similarities, list by list of one length.
-- severity: error
-- stage: published
SELECT sample_id, problem
FROM (
    SELECT sample_id, CASE
        WHEN coalesce(len(all_captions), 0) = 0 THEN 'no captions'
        WHEN len(all_captions) IS DISTINCT FROM len(all_similarities) OR len(all_captions) IS DISTINCT FROM len(all_multiplicities) THEN 'lists of different length'
        WHEN NOT coalesce(list_contains(all_captions, top_caption), false) THEN 'top_caption is not one of all_captions'
        WHEN len(list_distinct(all_captions)) <> len(all_captions) THEN 'a caption stands twice'
        WHEN all_similarities <> list_reverse_sort(all_similarities) THEN 'similarities are not in falling order'
        WHEN len(rn50x64_similarities) > len(all_captions) THEN 'more final scores than captions'
    END AS problem
    FROM published
)
WHERE problem IS NOT NULL
