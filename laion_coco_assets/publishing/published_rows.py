"""Makes a row of LAION-COCO from a sample's stage rows."""

from typing import Any

from laion_coco_assets.contract.shared_columns import CARRIED_OVER

Row = dict[str, Any]


def published_row(fetched: Row, candidates: Row, ranked: Row, final: Row, fingerprint: str) -> Row:
    """A row of `published`. `all_captions` are ordered by the first ranker's score, best first; ties in sampling order."""
    scores = ranked["scores"]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    return {
        "URL": fetched["URL"],
        "TEXT": fetched["TEXT"],
        "top_caption": final["caption"],
        "all_captions": [candidates["captions"][i] for i in order],
        "all_similarities": [scores[i] for i in order],
        **{name: fetched[name] for name in CARRIED_OVER},
        "sample_id": fetched["sample_id"],
        "sha256": fetched["sha256"],
        "all_multiplicities": [candidates["multiplicities"][i] for i in order],
        "final_similarities": final["scores"],
        "alt_text_similarity": ranked["alt_text_score"],
        "alt_text_final_similarity": final["alt_text_score"],
        "fingerprint": fingerprint,
    }
