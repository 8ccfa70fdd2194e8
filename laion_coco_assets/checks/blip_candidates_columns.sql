-- description: The file has exactly the columns of its contract, in order, with their types.
-- severity: error
-- stage: blip_candidates
SELECT NULL AS sample_id, coalesce(
    'column ' || expected.position || ' is ' || actual.name || ' ' || actual.type || ', expected ' || expected.name || ' ' || expected.type,
    'column ' || expected.name || ' ' || expected.type || ' is missing',
    'column ' || actual.name || ' ' || actual.type || ' is not in the contract'
) AS problem
FROM (SELECT * FROM contract WHERE stage = 'blip_candidates') AS expected
FULL JOIN (SELECT * FROM columns WHERE stage = 'blip_candidates') AS actual USING (position)
WHERE (expected.name, expected.type) IS DISTINCT FROM (actual.name, actual.type)
