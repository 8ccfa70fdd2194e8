-- description: URL, TEXT and the source's own columns are published as they came.
-- severity: error
-- stage: published
-- needs: fetched_images
SELECT sample_id, 'a column carried over from the source differs' AS problem
FROM published AS row
LEFT JOIN (SELECT * FROM fetched_images WHERE status = 'ok') AS origin USING (sample_id)
WHERE (row.URL, row.TEXT, row.WIDTH, row.HEIGHT, row.similarity, row.hash, row.pwatermark, row.punsafe)
    IS DISTINCT FROM (origin.URL, origin.TEXT, origin.WIDTH, origin.HEIGHT, origin.similarity, origin.hash, origin.pwatermark, origin.punsafe)
