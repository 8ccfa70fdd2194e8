-- description: URL, TEXT, the source's own columns and the image's sha256 are published unchanged.
-- severity: error
-- stage: published
-- needs: fetched_images
SELECT sample_id, array_to_string(list_transform(differing, lambda entry: entry.name || ' ' || coalesce(entry.origin, 'null')), ', ') AS expected,
    array_to_string(list_transform(differing, lambda entry: entry.name || ' ' || coalesce(entry.carried, 'null')), ', ') AS actual
FROM (
    SELECT sample_id, list_filter([
        {'name': 'URL', 'origin': origin.URL, 'carried': row.URL},
        {'name': 'TEXT', 'origin': origin.TEXT, 'carried': row.TEXT},
        {'name': 'WIDTH', 'origin': origin.WIDTH::VARCHAR, 'carried': row.WIDTH::VARCHAR},
        {'name': 'HEIGHT', 'origin': origin.HEIGHT::VARCHAR, 'carried': row.HEIGHT::VARCHAR},
        {'name': 'similarity', 'origin': origin.similarity::VARCHAR, 'carried': row.similarity::VARCHAR},
        {'name': 'hash', 'origin': origin.hash::VARCHAR, 'carried': row.hash::VARCHAR},
        {'name': 'pwatermark', 'origin': origin.pwatermark::VARCHAR, 'carried': row.pwatermark::VARCHAR},
        {'name': 'punsafe', 'origin': origin.punsafe::VARCHAR, 'carried': row.punsafe::VARCHAR},
        {'name': 'sha256', 'origin': origin.sha256, 'carried': row.sha256}
    ], lambda entry: entry.origin IS DISTINCT FROM entry.carried) AS differing
    FROM published AS row
    LEFT JOIN (SELECT * FROM fetched_images WHERE status = 'ok') AS origin USING (sample_id)
    -- Rows without a URL, of a source that brings its images along, may share a sample_id: each is compared with the one that fits best.
    QUALIFY row_number() OVER (PARTITION BY row.file_row_number ORDER BY len(differing)) = 1
)
WHERE len(differing) > 0
