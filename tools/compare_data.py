"""Checks whether two data folders hold the same samples: rows, captions and scores of every stage, bit for bit.

    uv run python tools/compare_data.py OLD NEW

Renamed columns are compared under their new names. Columns that only one side has are listed and not compared. Fingerprints
and details, which are words for people, are not compared. The exit code is 1 when a value differs.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

#: Old names of columns in `published`, and the names by role that replaced them.
RENAMED = {
    "rn50x64_similarities": "final_similarities",
    "alt_text_similarity_vit_l_14": "alt_text_similarity",
    "alt_text_similarity_rn50x64": "alt_text_final_similarity",
}
#: Columns that change with every setting or stage version.
IGNORED = {"fingerprint", "detail"}
FOLDERS = ("fetched_images", "blip_candidates", "clip_l_top5", "rn50x64_final", "published", "ledger")


def main() -> int:
    """Compare the folders on the command line. Returns the exit code."""
    old, new = map(Path, sys.argv[1:])
    differences = 0
    for folder in FOLDERS:
        names = {path.name for root in (old, new) for path in (root / folder).glob("*.parquet")}
        for name in sorted(names):
            same, line = _compare(old / folder / name, new / folder / name)
            differences += not same
            print(f"{folder}/{name}: {line}")
    print("the same samples, captions and scores" if not differences else f"{differences} files differ")
    return 1 if differences else 0


def _compare(old: Path, new: Path) -> tuple[bool, str]:
    if not (old.exists() and new.exists()):
        return False, "on one side only"
    before, after = _columns(pq.read_table(old)), _columns(pq.read_table(new))
    shared = [name for name in before if name in after]
    different = [name for name in shared if before[name] != after[name]]
    alone = sorted({*before, *after}.difference(shared))
    line = f"{len(before['sample_id'])} rows, {len(shared)} columns alike"
    if different:
        line = f"{', '.join(different)} differ"
    return not different, line + (f", on one side only: {', '.join(alone)}" if alone else "")


def _columns(table: pa.Table) -> dict[str, list[object]]:
    return {
        RENAMED.get(name, name): table.column(name).to_pylist() for name in table.column_names if name not in IGNORED
    }


if __name__ == "__main__":
    sys.exit(main())
