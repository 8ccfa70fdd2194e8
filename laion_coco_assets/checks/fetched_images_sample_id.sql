-- description: sample_id is the first 128 bits, hex, of SHA-256 over URL, NUL, TEXT.
-- severity: error
-- stage: fetched_images
SELECT sample_id, 'row ' || row || ': sample_id does not follow from URL and TEXT' AS problem
FROM fetched_images
WHERE sample_id IS DISTINCT FROM left(sha256(concat(coalesce(URL, ''), chr(0), coalesce(TEXT, ''))), 32)
