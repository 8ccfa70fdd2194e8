-- description: A row is ok with an image, or rejected without one for a reason of the closed list.
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'row ' || row || ': status ' || status || ', reason ' || coalesce(reason, 'none')
    || CASE WHEN sha256 IS NULL THEN ', no image' ELSE ', an image' END AS problem
FROM fetched_images
WHERE NOT coalesce(
    (status = 'ok' AND reason IS NULL AND image IS NOT NULL AND sha256 IS NOT NULL)
    OR (
        status = 'rejected' AND image IS NULL AND sha256 IS NULL
        AND reason IN (SELECT reason FROM reasons WHERE stage = 'fetched_images')
    ),
    false
)
