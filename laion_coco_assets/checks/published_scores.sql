-- description: Scores are cosine similarities. The first ranker scores every caption; the final ranker scores the first captions, the same number in every row (with one ranker none in the whole file); both score TEXT unless it is blank.
-- severity: error
-- stage: published
SELECT sample_id, problem.expected, problem.actual
FROM (
    SELECT sample_id, CASE
        WHEN len(list_filter(all_similarities, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)) > 0 THEN {'expected': 'cosine similarities', 'actual': 'all_similarities ' || all_similarities::VARCHAR}
        WHEN final_similarities IS NULL AND kept IS NOT NULL THEN {'expected': 'final_similarities, as in other rows', 'actual': 'null'}
        WHEN len(final_similarities) <> greatest(1, least(kept, len(all_captions))) THEN
            {'expected': greatest(1, least(kept, len(all_captions))) || ' final_similarities, as many as in other rows or one per caption', 'actual': len(final_similarities)::VARCHAR}
        WHEN len(list_filter(final_similarities, lambda score: score IS NULL OR NOT abs(score) <= 1.000001)) > 0 THEN {'expected': 'cosine similarities', 'actual': 'final_similarities ' || final_similarities::VARCHAR}
        WHEN (alt_text_similarity IS NULL) <> blank THEN
            {'expected': CASE WHEN blank THEN 'no similarity of a blank TEXT' ELSE 'a similarity of TEXT' END, 'actual': 'alt_text_similarity ' || coalesce(alt_text_similarity::VARCHAR, 'null')}
        WHEN (alt_text_final_similarity IS NULL) <> (blank OR kept IS NULL) THEN
            {'expected': CASE WHEN kept IS NULL THEN 'none: one ranker decides' WHEN blank THEN 'no similarity of a blank TEXT' ELSE 'a similarity of TEXT' END, 'actual': 'alt_text_final_similarity ' || coalesce(alt_text_final_similarity::VARCHAR, 'null')}
        -- NaN is tested by itself: parquet's statistics, from which DuckDB takes a column's range, leave it out.
        WHEN isnan(alt_text_similarity) OR abs(alt_text_similarity) > 1.000001 THEN {'expected': 'a cosine similarity', 'actual': 'alt_text_similarity ' || alt_text_similarity}
        WHEN isnan(alt_text_final_similarity) OR abs(alt_text_final_similarity) > 1.000001 THEN {'expected': 'a cosine similarity', 'actual': 'alt_text_final_similarity ' || alt_text_final_similarity}
    END AS problem
    FROM (SELECT *, regexp_full_match(coalesce(TEXT, ''), '[\s\p{Z}\x1c-\x1f\x{85}\x0b]*') AS blank FROM published),
        (SELECT max(len(final_similarities)) AS kept FROM published)
)
WHERE problem IS NOT NULL
