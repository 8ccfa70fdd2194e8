-- description: The file has exactly the columns of its contract, in order, with their types.
-- severity: error
-- stage: clip_l_top5
SELECT NULL AS sample_id,
    coalesce('column ' || position || ' ' || wanted.name || ' ' || wanted.type, 'no column ' || position) AS expected,
    coalesce('column ' || position || ' ' || found.name || ' ' || found.type, 'no column ' || position) AS actual
FROM (SELECT * FROM contract WHERE stage = 'clip_l_top5') AS wanted
FULL JOIN (SELECT * FROM columns WHERE stage = 'clip_l_top5') AS found USING (position)
WHERE (wanted.name, wanted.type) IS DISTINCT FROM (found.name, found.type)
