-- description: Every source row is there once, in source order (invariant 1).
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'row ' || row || ' stands at position ' || position AS problem
FROM (SELECT sample_id, row, file_row_number AS position FROM fetched_images)
WHERE row IS DISTINCT FROM position
UNION ALL
SELECT NULL, rows || ' rows of ' || coalesce(source_rows::VARCHAR, 'an unknown number') || ' in the source'
FROM files WHERE stage = 'fetched_images' AND rows IS DISTINCT FROM source_rows
