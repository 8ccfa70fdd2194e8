-- description: The ledger tells of each row what the stages' own files tell (invariant 1).
-- severity: error
-- stage: published
-- needs: ledger, fetched_images, blip_candidates
SELECT sample_id, coalesce(is_so, 'published') || coalesce(', ' || detail, '') || ', URL ' || coalesce(url, 'null') AS expected,
    'row ' || row || ': ' || coalesce(said, 'published') || coalesce(', ' || said_detail, '') || ', URL ' || coalesce(said_url, 'null') AS actual
FROM (
    SELECT line.sample_id, line.row, line.reason AS said, line.URL AS said_url, image.URL AS url, line.detail AS said_detail,
        CASE WHEN image.reason IS NOT NULL THEN image.detail WHEN drawn.reason IS NULL AND removed THEN line.detail END AS detail,
        coalesce(image.reason, drawn.reason, CASE WHEN removed THEN 'removed' END) AS is_so
    -- The stages before know nothing of the removal list; published_removals holds it against what is published.
    FROM (SELECT *, stage = 'published' AND coalesce(reason = 'removed', false) AS removed FROM ledger) AS line
    LEFT JOIN fetched_images AS image USING (row, sample_id)
    LEFT JOIN blip_candidates AS drawn USING (row, sample_id)
)
WHERE (said, said_url, said_detail) IS DISTINCT FROM (is_so, url, detail)
