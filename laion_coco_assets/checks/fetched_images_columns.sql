-- description: The file has exactly the columns of its contract, in order, with their types.
-- severity: error
-- stage: fetched_images
SELECT NULL AS sample_id, coalesce(
    'column ' || expected.position || ' is ' || actual.name || ' ' || actual.type || ', expected ' || expected.name || ' ' || expected.type,
    'column ' || expected.name || ' ' || expected.type || ' is missing',
    'column ' || actual.name || ' ' || actual.type || ' is not in the contract'
) AS problem
FROM (SELECT * FROM contract WHERE stage = 'fetched_images') AS expected
FULL JOIN (SELECT * FROM columns WHERE stage = 'fetched_images') AS actual USING (position)
WHERE (expected.name, expected.type) IS DISTINCT FROM (actual.name, actual.type)
