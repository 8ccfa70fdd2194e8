-- description: The share of rows whose image came is as usual: within 5 MAD, or 0.1, of the median of up to 20 earlier shards.
-- severity: warn
-- stage: fetched_images
-- scope: earlier shards
-- floor: 0.1
-- k: 5
SELECT avg((status = 'ok')::INTEGER) AS figure FROM fetched_images
