-- description: sample_id is the first 128 bits, hex, of SHA-256 over URL, NUL, TEXT.
-- severity: error
-- stage: published
SELECT sample_id, made || ', of this URL and TEXT' AS expected, coalesce(sample_id, 'null') AS actual
FROM (SELECT sample_id, left(sha256(concat(coalesce(URL, ''), chr(0), coalesce(TEXT, ''))), 32) AS made FROM published)
WHERE sample_id IS DISTINCT FROM made
