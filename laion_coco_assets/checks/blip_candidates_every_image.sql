-- description: Every ok image has one row, in source order, and nothing else has (invariant 1).
-- severity: error
-- stage: blip_candidates
-- needs: fetched_images
SELECT coalesce(image.sample_id, drawn.sample_id) AS sample_id,
    CASE WHEN drawn.sample_id IS NULL THEN 'row ' || image.row || ': an ok image without a row of candidates'
         WHEN image.sample_id IS NULL THEN 'row ' || drawn.row || ': candidates without an ok image'
         ELSE 'row ' || drawn.row || ': position ' || drawn.position || ' in the file, ' || image.position || ' among ok images'
    END AS problem
FROM (SELECT row, sample_id, row_number() OVER (ORDER BY row) AS position FROM fetched_images WHERE status = 'ok') AS image
FULL JOIN (SELECT row, sample_id, file_row_number + 1 AS position FROM blip_candidates) AS drawn USING (row, sample_id)
WHERE image.position IS DISTINCT FROM drawn.position
