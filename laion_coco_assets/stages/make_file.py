"""Makes a stage's file."""

import pyarrow as pa

from laion_coco_assets.progress import Progress
from laion_coco_assets.stages.stage import Stage, profile_metadata


def make_file(stage: Stage, progress: Progress) -> int | None:
    """Make the stage's file unless it is complete and unchanged; returns the rows made now, None when it was skipped.

    Rows carried over from the existing file come as arrow batches, and do not count as made. A trial does not touch
    unfinished work on the whole shard.
    """
    store, key, replaced = stage.store, stage.key, stage.replaces()
    if replaced is None and store.is_complete(key):
        return None
    is_trial = stage.profile.fetch.max_samples is not None
    with store.write(key, stage.schema(), replaced or stage.carries_over_from(), keep_others=is_trial) as writer:
        if writer.complete:  # another process has made it while this one waited for the lock
            return None
        done = writer.done
        made = 0
        progress.start(key.stage, key.shard, stage.total(), done)
        try:
            settings = stage.run.settings_by_stage.get(stage.name)
            writer.describe(**{"settings": settings, **profile_metadata(stage.profile), **stage.metadata()})
            for rows in stage.rows(done):
                writer.append(rows)
                made += 0 if isinstance(rows, pa.RecordBatch) else len(rows)
                progress.advance(len(rows))
        finally:
            progress.finish()
        return made
