-- How many rows of a stage's file (`stage`) were rejected, by reason, and their share of all rows.
SELECT reason, count(*) AS rows, printf('%.1f %%', 100 * count(*) / any_value(total)) AS "of all"
FROM (SELECT reason, count(*) OVER () AS total FROM stage)
WHERE reason IS NOT NULL
GROUP BY 1
ORDER BY 2 DESC, 1
