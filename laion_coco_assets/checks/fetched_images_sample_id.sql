-- description: sample_id is the first 128 bits, hex, of SHA-256 over URL, NUL, TEXT.
-- severity: error
-- stage: fetched_images
SELECT sample_id, made AS expected, 'row ' || coalesce(row::VARCHAR, 'null') || ': ' || coalesce(sample_id, 'null') AS actual
FROM (SELECT *, left(sha256(concat(coalesce(URL, ''), chr(0), coalesce(TEXT, ''))), 32) AS made FROM fetched_images)
WHERE sample_id IS DISTINCT FROM made
