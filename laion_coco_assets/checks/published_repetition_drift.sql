-- description: The share of samples whose top caption another sample has already is as usual: within 5 MAD, or 0.05, of the median of up to 20 earlier shards.
-- severity: warn
-- stage: published
-- scope: earlier shards
-- floor: 0.05
-- k: 5
SELECT 1 - count(DISTINCT top_caption) / count(*) AS figure FROM published
