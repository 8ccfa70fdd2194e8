-- description: The image bytes are the ones that were hashed and counted when they came.
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'row ' || row || ': the image does not have the sha256 or length on record' AS problem
FROM fetched_images
WHERE image IS NOT NULL AND (sha256, image_bytes) IS DISTINCT FROM (sha256(image), octet_length(image))
