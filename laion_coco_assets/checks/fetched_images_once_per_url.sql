-- description: A URL is fetched once a shard; further rows with it say duplicate_url.
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'row ' || row || ': a URL that stood before, reason ' || coalesce(reason, 'none') AS problem
FROM (SELECT *, row_number() OVER (PARTITION BY URL ORDER BY row) AS nth FROM fetched_images WHERE URL IS NOT NULL)
WHERE (nth > 1) <> (reason IS NOT DISTINCT FROM 'duplicate_url')
