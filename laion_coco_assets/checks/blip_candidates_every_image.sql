-- description: Every ok image has one row, in source order, and nothing else has (invariant 1).
-- severity: error
-- stage: blip_candidates
-- needs: fetched_images
SELECT coalesce(image.sample_id, drawn.sample_id) AS sample_id,
    coalesce('row ' || image.row || ' at position ' || image.position || ', its place among ok images', 'no row, for want of an ok image') AS expected,
    coalesce('row ' || drawn.row || ' at position ' || drawn.position, 'no row') AS actual
FROM (SELECT row, sample_id, row_number() OVER (ORDER BY row) AS position FROM fetched_images WHERE status = 'ok') AS image
FULL JOIN (SELECT row, sample_id, file_row_number + 1 AS position FROM blip_candidates) AS drawn USING (row, sample_id)
WHERE image.position IS DISTINCT FROM drawn.position
