-- description: Captions are distinct and not blank; multiplicities and token counts go with them and add up to no more than was drawn.
-- severity: error
-- stage: blip_candidates
SELECT sample_id, 'row ' || row || ': ' || problem AS problem
FROM (
    SELECT sample_id, row, CASE
        WHEN captions IS NULL OR multiplicities IS NULL OR token_counts IS NULL THEN 'a list is null'
        WHEN len(captions) <> len(multiplicities) OR len(captions) <> len(token_counts) THEN 'lists of different length'
        WHEN len(list_distinct(captions)) <> len(captions) THEN 'a caption stands twice'
        WHEN len(list_filter(captions, lambda caption: coalesce(trim(caption), '') = '')) > 0 THEN 'a blank caption'
        WHEN coalesce(list_min(multiplicities), 1) < 1 THEN 'a multiplicity below 1'
        WHEN coalesce(list_sum(multiplicities), 0) > drawn THEN 'multiplicities add up to ' || list_sum(multiplicities) || ' of ' || drawn || ' drawn'
        WHEN coalesce(list_min(token_counts), 1) < 1 OR coalesce(list_max(token_counts), 1) > longest THEN 'a token count outside 1 to ' || longest
        WHEN (reason IS NULL) = (len(captions) = 0) THEN 'captions and reason do not fit'
        WHEN reason NOT IN (SELECT reason FROM reasons WHERE stage = 'blip_candidates') THEN 'reason ' || reason || ' is not on the list'
    END AS problem
    FROM blip_candidates, (
        SELECT list_sum(list_transform(lengths, lambda each: each.candidates)) AS drawn,
               list_max(list_transform(lengths, lambda each: each.tokens)) AS longest
        FROM (
            SELECT from_json(settings -> 'max_lengths', '[{"tokens": "BIGINT", "candidates": "BIGINT"}]') AS lengths
            FROM files WHERE stage = 'blip_candidates'
        )
    )
)
WHERE problem IS NOT NULL
