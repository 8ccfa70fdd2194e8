-- description: Top captions have as many words as usual: in the mean, within 5 MAD, or 1 word, of the median of up to 20 earlier shards.
-- severity: warn
-- stage: published
-- scope: earlier shards
-- floor: 1
-- k: 5
SELECT avg(len(string_split(top_caption, ' '))) AS figure FROM published
