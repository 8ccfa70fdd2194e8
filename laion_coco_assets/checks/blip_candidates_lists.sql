-- description: Captions are distinct and not blank. Each has a multiplicity and a token count; the multiplicities add up to at most the number drawn.
-- severity: error
-- stage: blip_candidates
SELECT sample_id, problem.expected, 'row ' || coalesce(row::VARCHAR, 'null') || ': ' || problem.actual AS actual
FROM (
    SELECT sample_id, row, CASE
        WHEN captions IS NULL OR multiplicities IS NULL OR token_counts IS NULL THEN {'expected': 'three lists', 'actual': 'a list is null'}
        WHEN len(captions) <> len(multiplicities) OR len(captions) <> len(token_counts) THEN
            {'expected': 'lists of equal length', 'actual': len(captions) || ' captions, ' || len(multiplicities) || ' multiplicities, ' || len(token_counts) || ' token counts'}
        WHEN len(list_distinct(captions)) <> len(captions) THEN {'expected': 'distinct captions', 'actual': len(list_distinct(captions)) || ' distinct ones of ' || len(captions)}
        WHEN len(list_filter(captions, lambda caption: coalesce(trim(caption), '') = '')) > 0 THEN {'expected': 'captions with text', 'actual': 'a blank caption'}
        WHEN len(list_filter(multiplicities, lambda times: NOT coalesce(times >= 1, false))) > 0 THEN {'expected': 'multiplicities of at least 1', 'actual': multiplicities::VARCHAR}
        WHEN coalesce(list_sum(multiplicities), 0) > drawn THEN {'expected': 'multiplicities that add up to at most ' || drawn || ', the number drawn', 'actual': list_sum(multiplicities)::VARCHAR}
        WHEN len(list_filter(token_counts, lambda tokens: NOT coalesce(tokens >= 1, false) OR tokens > longest)) > 0 THEN
            {'expected': 'token counts from 1 to ' || coalesce(longest::VARCHAR, 'a number that is not on record'), 'actual': token_counts::VARCHAR}
        WHEN (reason IS NULL) = (len(captions) = 0) THEN {'expected': 'captions, or a reason why there are none', 'actual': len(captions) || ' captions, reason ' || coalesce(reason, 'none')}
        WHEN reason NOT IN (SELECT reason FROM reasons WHERE stage = 'blip_candidates') THEN {'expected': 'a reason of the closed list', 'actual': 'reason ' || reason}
    END AS problem
    FROM blip_candidates, (
        SELECT list_sum(list_transform(lengths, lambda entry: entry.candidates)) AS drawn,
               list_max(list_transform(lengths, lambda entry: entry.tokens)) AS longest
        FROM (
            SELECT from_json(settings -> 'max_lengths', '[{"tokens": "BIGINT", "candidates": "BIGINT"}]') AS lengths
            FROM files WHERE stage = 'blip_candidates'
        )
    )
)
WHERE problem IS NOT NULL
