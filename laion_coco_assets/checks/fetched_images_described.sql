-- description: An ok image has at least one byte, a format that is kept, a width and a height, and an HTTP status of success (2xx), or none if the source brought it along.
-- severity: error
-- stage: fetched_images
SELECT sample_id, problem.expected, 'row ' || coalesce(row::VARCHAR, 'null') || ': ' || problem.actual AS actual
FROM (
    SELECT sample_id, row, CASE
        WHEN NOT coalesce(image_bytes >= 1, false) THEN {'expected': 'an image of at least 1 byte', 'actual': coalesce(image_bytes::VARCHAR, 'null') || ' bytes'}
        WHEN NOT coalesce(format IN (SELECT format FROM formats), false) THEN {'expected': 'a format that is kept', 'actual': 'format ' || coalesce(format, 'null')}
        WHEN NOT coalesce(image_width >= 1 AND image_height >= 1, false) THEN
            {'expected': 'a width and a height in pixels', 'actual': coalesce(image_width::VARCHAR, 'null') || ' by ' || coalesce(image_height::VARCHAR, 'null')}
        -- A file that does not say whether its source brings images along may have none, too.
        WHEN NOT coalesce(http_status BETWEEN 200 AND 299, brings_images, true) THEN
            {'expected': 'an HTTP status of success', 'actual': 'HTTP status ' || coalesce(http_status::VARCHAR, 'null')}
    END AS problem
    FROM fetched_images, (SELECT brings_images FROM files WHERE stage = 'fetched_images')
    WHERE status = 'ok'
)
WHERE problem IS NOT NULL
