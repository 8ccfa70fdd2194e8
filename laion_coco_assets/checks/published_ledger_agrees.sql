-- description: The ledger says of each row what the stages' files say: sample_id, URL, the stage where it ended, reason and detail (invariant 1).
-- severity: error
-- stage: published
-- needs: ledger, fetched_images, blip_candidates
SELECT sample_id, CASE
        WHEN origin IS NULL THEN 'a row of fetched_images'
        WHEN origin IS DISTINCT FROM sample_id THEN 'sample_id ' || origin
        ELSE coalesce(reason || ' at ', '') || ended || coalesce(', ' || detail, '') || ', URL ' || coalesce(url, 'null')
    END AS expected,
    'row ' || coalesce(row::VARCHAR, 'null') || ': ' || CASE
        WHEN origin IS NULL THEN 'no such row'
        WHEN origin IS DISTINCT FROM sample_id THEN 'sample_id ' || coalesce(sample_id, 'null')
        ELSE coalesce(line_reason || ' at ', '') || coalesce(line_stage, 'no stage') || coalesce(', ' || line_detail, '') || ', URL ' || coalesce(line_url, 'null')
    END AS actual
FROM (
    SELECT line.sample_id, line.row, line.stage AS line_stage, line.reason AS line_reason, line.URL AS line_url, line.detail AS line_detail,
        image.sample_id AS origin, image.URL AS url,
        CASE WHEN image.reason IS NOT NULL THEN image.detail WHEN drawn.reason IS NULL AND removed THEN line.detail END AS detail,
        coalesce(image.reason, drawn.reason, CASE WHEN removed THEN 'removed' END) AS reason,
        CASE WHEN image.reason IS NOT NULL THEN 'fetched_images' WHEN drawn.reason IS NOT NULL THEN 'blip_candidates' ELSE 'published' END AS ended
    -- The earlier stages know nothing of the removal list; published_removals compares it with what is published.
    FROM (SELECT *, coalesce(stage = 'published' AND reason = 'removed', false) AS removed FROM ledger) AS line
    LEFT JOIN fetched_images AS image USING (row)
    LEFT JOIN blip_candidates AS drawn ON drawn.row = image.row AND drawn.sample_id = image.sample_id
)
WHERE (sample_id, line_reason, line_stage, line_url, line_detail) IS DISTINCT FROM (origin, reason, ended, url, detail)
