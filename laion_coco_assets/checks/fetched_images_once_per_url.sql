-- description: A URL is fetched once per shard; later rows with it have the reason duplicate_url.
-- severity: error
-- stage: fetched_images
SELECT sample_id, CASE WHEN nth > 1 THEN 'reason duplicate_url: an earlier row has the URL' ELSE 'another reason, or none: the first row with the URL' END AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': reason ' || coalesce(reason, 'none') AS actual
FROM (
    SELECT *, row_number() OVER (PARTITION BY bare ORDER BY row) AS nth
    FROM (
        -- As fetching compares URLs: without the blanks around them and without their fragment.
        SELECT *, split_part(regexp_replace(coalesce(URL, ''), '^[\s\p{Z}\x1c-\x1f\x{85}\x0b]+|[\s\p{Z}\x1c-\x1f\x{85}\x0b]+$', '', 'g'), '#', 1) AS bare
        FROM fetched_images
    )
    WHERE bare <> ''
)
WHERE (nth > 1) <> (reason IS NOT DISTINCT FROM 'duplicate_url')
