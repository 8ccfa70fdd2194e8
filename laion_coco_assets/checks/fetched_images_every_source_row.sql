-- description: Every source row has one row, in source order (invariant 1).
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'row ' || position || ' at position ' || position AS expected, 'row ' || coalesce(row::VARCHAR, 'null') AS actual
FROM (SELECT sample_id, row, file_row_number AS position FROM fetched_images)
WHERE row IS DISTINCT FROM position
UNION ALL
SELECT NULL, coalesce(least(source_rows, max_samples)::VARCHAR, 'an unknown number of') || ' rows, as in the source', rows || ' rows'
FROM files WHERE stage = 'fetched_images' AND rows IS DISTINCT FROM least(source_rows, max_samples)
