-- The first offenders of a rule, and how many there are. Captions and URLs from the web may have any length, so texts are cut.
SELECT sample_id, left(expected, {characters}), left(actual, {characters}), count(*) OVER ()
FROM (
{rule}
)
ORDER BY ALL
LIMIT {offenders}
