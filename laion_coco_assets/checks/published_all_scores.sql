-- description: Every candidate and every score of the earlier stages is published (invariant 5).
-- severity: error
-- stage: published
-- needs: blip_candidates, clip_l_top5, rn50x64_final
SELECT sample_id, 'as in ' || differing.stage AS expected, differing.columns || ' differ' AS actual
FROM (
    SELECT sample_id, CASE
        WHEN made.candidates IS DISTINCT FROM
            list_sort(list_transform(range(len(all_captions)), lambda i: {'c': all_captions[i + 1], 's': all_similarities[i + 1], 'm': all_multiplicities[i + 1]}))
            THEN {'stage': 'blip_candidates and clip_l_top5', 'columns': 'captions, similarities or multiplicities'}
        WHEN all_captions[:len(top_captions)] IS DISTINCT FROM top_captions THEN {'stage': 'clip_l_top5', 'columns': 'the first of all_captions'}
        WHEN final_similarities IS DISTINCT FROM final_scores THEN {'stage': 'rn50x64_final', 'columns': 'final_similarities'}
        WHEN top_caption IS DISTINCT FROM made.caption THEN {'stage': 'rn50x64_final', 'columns': 'top_caption'}
        WHEN alt_text_similarity IS DISTINCT FROM first_alt THEN {'stage': 'clip_l_top5', 'columns': 'alt_text_similarity'}
        WHEN alt_text_final_similarity IS DISTINCT FROM final_alt THEN {'stage': 'rn50x64_final', 'columns': 'alt_text_final_similarity'}
    END AS differing
    FROM published
    LEFT JOIN (
        SELECT sample_id, top_captions, final.scores AS final_scores, final.caption,
            ranked.alt_text_score AS first_alt, final.alt_text_score AS final_alt,
            list_sort(list_transform(range(len(captions)), lambda i: {'c': captions[i + 1], 's': ranked.scores[i + 1], 'm': multiplicities[i + 1]})) AS candidates
        FROM blip_candidates AS drawn
        JOIN clip_l_top5 AS ranked USING (row, sample_id)
        JOIN rn50x64_final AS final USING (row, sample_id)
    ) AS made USING (sample_id)
    -- Rows without a URL, of a source that brings its images along, may share a sample_id: each is compared with the one that fits best.
    QUALIFY row_number() OVER (PARTITION BY published.file_row_number ORDER BY differing IS NOT NULL) = 1
)
WHERE differing IS NOT NULL
