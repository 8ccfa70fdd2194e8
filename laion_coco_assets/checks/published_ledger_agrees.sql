-- description: The ledger tells of each row what the stages' own files tell: sample_id, URL, the stage where it ended, reason and detail (invariant 1).
-- severity: error
-- stage: published
-- needs: ledger, fetched_images, blip_candidates
SELECT sample_id, CASE
        WHEN origin IS NULL THEN 'a row of fetched_images'
        WHEN origin IS DISTINCT FROM sample_id THEN 'sample_id ' || origin
        ELSE coalesce(is_so || ' at ', '') || ended || coalesce(', ' || detail, '') || ', URL ' || coalesce(url, 'null')
    END AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': ' || CASE
        WHEN origin IS NULL THEN 'none there'
        WHEN origin IS DISTINCT FROM sample_id THEN 'sample_id ' || coalesce(sample_id, 'null')
        ELSE coalesce(said || ' at ', '') || coalesce(said_ended, 'no stage') || coalesce(', ' || said_detail, '') || ', URL ' || coalesce(said_url, 'null')
    END AS actual
FROM (
    SELECT line.sample_id, line.row, line.stage AS said_ended, line.reason AS said, line.URL AS said_url, line.detail AS said_detail,
        image.sample_id AS origin, image.URL AS url,
        CASE WHEN image.reason IS NOT NULL THEN image.detail WHEN drawn.reason IS NULL AND removed THEN line.detail END AS detail,
        coalesce(image.reason, drawn.reason, CASE WHEN removed THEN 'removed' END) AS is_so,
        CASE WHEN image.reason IS NOT NULL THEN 'fetched_images' WHEN drawn.reason IS NOT NULL THEN 'blip_candidates' ELSE 'published' END AS ended
    -- The stages before know nothing of the removal list; published_removals holds it against what is published.
    FROM (SELECT *, coalesce(stage = 'published' AND reason = 'removed', false) AS removed FROM ledger) AS line
    LEFT JOIN fetched_images AS image USING (row)
    LEFT JOIN blip_candidates AS drawn ON drawn.row = image.row AND drawn.sample_id = image.sample_id
)
WHERE (sample_id, said, said_ended, said_url, said_detail) IS DISTINCT FROM (origin, is_so, ended, url, detail)
