-- description: $what has exactly the columns of its contract, in order, with their types.
-- severity: error
-- stage: $stage
-- needs: $needs
SELECT NULL AS sample_id,
    coalesce('column ' || position || ' ' || wanted.name || ' ' || wanted.type, 'no column ' || position) AS expected,
    coalesce('column ' || position || ' ' || present.name || ' ' || present.type, 'no column ' || position) AS actual
FROM (SELECT * FROM contract WHERE stage = '$file') AS wanted
FULL JOIN (SELECT * FROM columns WHERE stage = '$file') AS present USING (position)
WHERE (wanted.name, wanted.type) IS DISTINCT FROM (present.name, present.type)
