"""What the models of the study make of each prompt, arm by arm: python -m experiments.studies.canvas.picture."""

from pathlib import Path

from jsonargparse import auto_cli


def picture(
    folder: str = "runs/canvas_study",
    output: str = "experiments/figures/canvas.png",
    request: str = "style",
    seed: int = 0,
) -> None:
    """Join the figures of some arms.

    Args:
        folder: of the study.
        output: the file to write.
        request: what was forgotten.
        seed: of the study.
    """
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    arms = ("original", "sum", "min-norm", "SalUn", "ESD-x", "ascent")
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    for cell, arm in zip(figure.subplots(2, 3).flat, arms, strict=True):
        cell.imshow(imread(Path(folder) / f"seed {seed}" / f"{request} {arm}.png"))
        cell.set_title(arm)
        cell.axis("off")
    figure.savefig(output, dpi=80)


if __name__ == "__main__":
    auto_cli(picture, as_positional=False)
