-- description: The published rows are those that the ledger lists as published: each sample once if it has a URL, with the ledger's URL, in the order of the ledger's rows.
-- severity: error
-- stage: published
-- needs: ledger
SELECT coalesce(own.sample_id, line.sample_id) AS sample_id,
    CASE WHEN line.sample_id IS NULL THEN 'rejected by the ledger, or not in it' WHEN has_url THEN 'published once, as in the ledger' ELSE 'published ' || line.times || ' times, as in the ledger' END AS expected,
    'rows in published: ' || coalesce(own.times, 0) AS actual
FROM (SELECT sample_id, count(*) AS times FROM published GROUP BY 1) AS own
FULL JOIN (
    -- To fetching, rows without a URL are no duplicates; a source that brings its images along may have such rows.
    SELECT sample_id, count(*) AS times, bool_or(NOT regexp_full_match(split_part(coalesce(URL, ''), '#', 1), '[\s\p{Z}\x1c-\x1f\x{85}\x0b]*')) AS has_url
    FROM ledger WHERE status = 'published' GROUP BY 1
) AS line USING (sample_id)
WHERE own.times IS DISTINCT FROM line.times OR (own.times > 1 AND has_url)
UNION ALL
SELECT sample_id,
    CASE WHEN url IS DISTINCT FROM line_url THEN 'URL ' || coalesce(line_url, 'null') || ', as in the ledger' ELSE 'a row of the ledger after row ' || before END,
    CASE WHEN url IS DISTINCT FROM line_url THEN 'URL ' || coalesce(url, 'null') ELSE 'row ' || row || ' of the ledger' END
FROM (
    SELECT sample_id, own.url, line.url AS line_url, line.row, lag(line.row) OVER (ORDER BY own.position) AS before
    FROM (SELECT sample_id, URL AS url, file_row_number AS position, row_number() OVER (PARTITION BY sample_id ORDER BY file_row_number) AS nth FROM published) AS own
    JOIN (SELECT sample_id, URL AS url, row, row_number() OVER (PARTITION BY sample_id ORDER BY row) AS nth FROM ledger WHERE status = 'published') AS line USING (sample_id, nth)
)
WHERE url IS DISTINCT FROM line_url OR row < before
