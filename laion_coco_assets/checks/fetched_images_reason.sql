-- description: A row is ok with an image, or rejected without one for a reason of the closed list.
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'ok with an image and its sha256, or rejected without them for a reason of the closed list' AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': ' || coalesce(status, 'no status') || ', reason ' || coalesce(reason, 'none')
    || CASE WHEN image IS NULL THEN ', no image' ELSE ', an image' END
    || CASE WHEN sha256 IS NULL THEN ', no sha256' ELSE ', a sha256' END AS actual
FROM fetched_images
WHERE NOT coalesce(
    (status = 'ok' AND reason IS NULL AND image IS NOT NULL AND sha256 IS NOT NULL)
    OR (
        status = 'rejected' AND image IS NULL AND sha256 IS NULL
        AND reason IN (SELECT reason FROM reasons WHERE stage = 'fetched_images')
    ),
    false
)
