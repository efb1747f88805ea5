"""The demo's runs as a small GIF, drawn from what they logged.

    python -m experiments.demo_animation --folder runs/demo --output runs/demo/demo.gif   # after `make demo`

One frame per evaluation on the way: forget and retain probability of the weighted sum, of MOLLM and of MOLLM with
goals, from the model before; the cross is the retrained model.
"""

import json
from pathlib import Path

from jsonargparse import auto_cli
from matplotlib.animation import FuncAnimation, PillowWriter

from unlearn_pl.commands.demo import TITLES, UNLEARNED
from unlearn_pl.report import read_history
from unlearn_pl.report.figures import FORGET, RETAIN, figure_of
from unlearn_pl.report.overview import BEFORE_COLOR, RETRAINED_COLOR, RUN_COLORS

PAUSE = 5
"""Frames that the end stays."""


def animate(folder: str = "runs/demo", output: str = "runs/demo/demo.gif") -> None:
    """Write the GIF.

    Args:
        folder: folder of a finished demo.
        output: file to write.
    """
    ends = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    start, goal = ((ends[n]["retain_probability"], ends[n]["forget_probability"]) for n in ("target", "retain"))
    ways = {name: [start, *way(Path(folder) / name / "logs" / "metrics.csv")] for name in UNLEARNED}
    figure, (axis,) = figure_of(1)
    axis.scatter(*start, marker="*", s=170, color=BEFORE_COLOR, label=TITLES["target"], zorder=4)
    axis.scatter(*goal, marker="X", s=110, color=RETRAINED_COLOR, label=TITLES["retain"], zorder=4)
    lines = [axis.plot([], [], marker="o", markersize=3, color=color)[0] for color in RUN_COLORS[: len(ways)]]
    heads = [
        axis.plot([], [], "o", markersize=10, color=color, label=TITLES[name])[0]
        for name, color in zip(ways, RUN_COLORS, strict=False)
    ]
    axis.set(xlim=(0, 1.02), ylim=(-0.04, 1.0), xlabel="probability of the answers to keep")
    axis.set_ylabel("probability of the answers to forget")
    axis.legend(loc="upper left")
    longest = max(map(len, ways.values()))

    def draw(frame: int) -> None:
        for line, head, points in zip(lines, heads, ways.values(), strict=True):
            shown = points[: frame + 1]
            line.set_data(*zip(*shown, strict=True))
            head.set_data(*zip(shown[-1], strict=True))
        axis.set_title(f"evaluation {min(frame, longest - 1)} of {longest - 1}")

    frames = [*range(longest), *[longest - 1] * PAUSE]
    FuncAnimation(figure, draw, frames).save(output, writer=PillowWriter(fps=2), dpi=80)


def way(log: Path) -> list[tuple[float, float]]:
    """Retain and forget probability at every step that logged both."""
    history = read_history(log)
    forget, retain = dict(history[FORGET]), dict(history[RETAIN])
    return [(retain[step], forget[step]) for step in sorted(forget.keys() & retain.keys())]


if __name__ == "__main__":
    auto_cli(animate, as_positional=False)
