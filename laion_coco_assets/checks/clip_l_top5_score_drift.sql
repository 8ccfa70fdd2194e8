-- description: The mean of the images' best scores by the first ranker is as usual: within 5 MAD, or 0.02, of the median of up to 20 earlier shards.
-- severity: warn
-- stage: clip_l_top5
-- scope: earlier shards
-- floor: 0.02
-- k: 5
SELECT avg(list_max(scores)) AS figure FROM clip_l_top5
