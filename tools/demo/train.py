"""`python -m tools.demo.train`: trains the demo's three models from scratch on drawn scenes, and saves them.

They are saved in the formats of the published models, by default in `laion_coco_assets/demo/weights/`.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from laion_coco_assets.cli.console import interruptible, run_app
from tools.demo.measure import WEIGHTS, measure
from tools.demo.training import TrainingSettings, train

app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ModelName(StrEnum):
    """The models, in the order in which they are trained."""

    BLIP = "blip"
    CLIP_L = "clip_l"
    RN50X64 = "rn50x64"


@app.command()
def command(
    work_dir: Annotated[Path, typer.Option(help="The folder for pictures and checkpoints.")],
    models: Annotated[list[ModelName] | None, typer.Argument(help="The models to train. Default: all.")] = None,
    out: Annotated[Path, typer.Option(help="The weights' folder. Default: the package's own.")] = WEIGHTS,
    pictures: Annotated[int, typer.Option(min=1, help="Training pictures to draw.")] = 30_000,
    steps: Annotated[int, typer.Option(min=1, help="Steps per model.")] = 6000,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = 64,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="The seed of pictures, first weights and all steps.")] = 20220915,
    text_from: Annotated[str, typer.Option(help="Start from the text tower of this trained CLIP's checkpoint.")] = "",
    start_from: Annotated[str, typer.Option(help="Start from this whole checkpoint, with a new schedule.")] = "",
    image_from: Annotated[
        Literal["blip"] | None, typer.Option(help="Start clip_l from the image tower of the trained BLIP.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch chooses.")] = 0,
) -> None:
    """Train the demo's models from scratch on drawn scenes, save each, and measure them once all three exist.

    A checkpoint is written every 250 steps. The same command resumes, with the same weights as an uninterrupted training.
    """
    settings = TrainingSettings(
        work_dir=work_dir,
        pictures=pictures,
        steps=steps,
        batch=batch,
        rate=rate,
        seed=seed,
        text_from=text_from,
        start_from=start_from,
        image_from=image_from or "",
    )
    if threads:
        torch.set_num_threads(threads)
    with interruptible("checkpoints stay in --work-dir; the same command resumes"):
        for name in models or ModelName:
            train(name, settings).save(out / name)
        if all((out / name).is_dir() for name in ModelName):
            print(json.dumps(measure(out), indent=2))


def main() -> None:
    """Run the command in `sys.argv`."""
    run_app(app)


if __name__ == "__main__":
    main()
