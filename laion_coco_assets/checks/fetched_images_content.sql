-- description: The image bytes have the hash and the length that were recorded when they came.
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'sha256 ' || coalesce(sha256[:16] || '…', 'null') || ', ' || coalesce(image_bytes::VARCHAR, 'null') || ' bytes' AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': sha256 ' || sha256(image)[:16] || '…, ' || octet_length(image) || ' bytes' AS actual
FROM fetched_images
WHERE image IS NOT NULL AND (sha256, image_bytes) IS DISTINCT FROM (sha256(image), octet_length(image))
