"""A page of examples: pictures with their alt text, the captions that were ranked, and all their scores.

One HTML file that loads nothing: it contains the thumbnails as data, and text from the web is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any, Final

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.evaluation.examples import published_images, thumbnail
from laion_coco_assets.store.store import ShardStore

_THUMBNAIL: Final = 256  # pixels
_QUALITY: Final = 80
_CAPTIONS_SHOWN: Final = 5

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; margin-bottom: .5rem; }}
header {{ margin-bottom: 1.2rem; }}
header p {{ margin: .3rem 0; max-width: 100ch; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(350px, 1fr)); gap: 1rem; }}
article {{ border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }}
.picture {{ background: color-mix(in srgb, currentColor 6%, transparent); padding: .5rem; }}
img {{ display: block; margin: 0 auto; max-width: 100%; height: 200px; object-fit: contain; }}
.text {{ padding: .6rem .8rem .8rem; overflow-wrap: anywhere; }}
.top {{ font-weight: 600; }}
.small {{ font-size: .82rem; opacity: .75; margin: .15rem 0; }}
table {{ border-collapse: collapse; width: 100%; font-size: .82rem; margin-top: .4rem; }}
td, th {{ border-top: 1px solid var(--line); padding: .12rem .3rem; text-align: left; font-weight: normal; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
td.n {{ white-space: nowrap; }}
th.n {{ max-width: 9rem; overflow-wrap: break-word; }}
tr.won td {{ font-weight: 600; }}
</style></head><body>
<header>
<h1>{title}</h1>
<p>{intro}</p>
<p>This page shows {shown} of {published} published samples. The bold caption won. {ranked}
"times" is how often the captioner drew that caption.</p>
</header>
<main>
{articles}
</main></body></html>
"""


def gallery(
    store: ShardStore,
    shards: Iterable[str],
    *,
    title: str,
    intro: str,
    rankers: Sequence[str],
    samples: int,
    notes: Mapping[str, str],
) -> str:
    """The page's HTML, with the first `samples` published samples spread over the shards.

    Args:
        store: where the stage files lie.
        shards: the published shards.
        title: of the page.
        intro: what the page shows, in a sentence or two.
        rankers: the names of the first ranker and, if there is one, the final ranker: `Profile.ranker_labels`.
        samples: how many to show.
        notes: a line to show under a sample, by sample_id (the demo's true captions).
    """
    names = list(shards)
    per_shard = -(-samples // max(1, len(names)))
    shown = (pair for shard in names for pair in islice(published_images(store, shard), per_shard))
    articles = [_article(row, image, rankers, notes) for row, image in shown]
    return _PAGE.format(
        title=escape(title),
        intro=escape(intro),
        ranked=escape(_ranked(rankers)),
        shown=len(articles),
        published=sum(store.need(StageName.PUBLISHED, shard).rows for shard in names),
        articles="\n".join(articles),
    )


def _ranked(rankers: Sequence[str]) -> str:
    if len(rankers) == 1:
        return f"The column {rankers[0]} has its similarities of picture and caption;"
    first, final = rankers
    return (
        f"The columns {first} (the first ranker) and {final} (the final one) have their "
        "similarities of picture and caption;"
    )


def _article(row: Mapping[str, Any], image: bytes, rankers: Sequence[str], notes: Mapping[str, str]) -> str:
    # By ranker. The final one has scored only the first captions.
    scores = [row["all_similarities"], row["final_similarities"] or []][: len(rankers)]
    lines = []
    for i, caption in enumerate(row["all_captions"][:_CAPTIONS_SHOWN]):
        won = ' class="won"' if caption == row["top_caption"] else ""
        numbers = [f"{row['all_multiplicities'][i]}×", *(f"{own[i]:.3f}" if i < len(own) else "" for own in scores)]
        cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
        lines.append(f"<tr{won}><td>{escape(caption)}</td>{cells}</tr>")
    rest = len(row["all_captions"]) - len(lines)
    more = f'<p class="small">and {rest} more</p>' if rest > 0 else ""
    note = notes.get(row["sample_id"])
    heads = "".join(f'<th class="n">{escape(name)}</th>' for name in ("times", *rankers))
    return f"""<article><div class="picture"><img alt="{escape(row["top_caption"])}" src="{thumbnail(image, side=_THUMBNAIL, quality=_QUALITY)}"></div>
<div class="text"><div class="top">{escape(row["top_caption"])}</div>
<p class="small">alt text: {escape(row["TEXT"] or "(none)")}</p>
{f'<p class="small">truth: {escape(note)}</p>' if note else ""}
<table><tr><th>caption</th>{heads}</tr>
{"".join(lines)}</table>{more}</div></article>"""
