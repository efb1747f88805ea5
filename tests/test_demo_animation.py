"""The GIF of the demo is drawn from what its runs logged."""

import json

from PIL import Image

from experiments.demo_animation import PAUSE, animate, way
from unlearn_pl.commands.demo import UNLEARNED
from unlearn_pl.report.figures import FORGET, RETAIN

STEPS = 3


def test_a_frame_per_evaluation_from_the_model_before(tmp_path):
    ends = {name: {"forget_probability": 0.9, "retain_probability": 0.8} for name in ("target", "retain")}
    (tmp_path / "results.json").write_text(json.dumps(ends))
    for place, name in enumerate(UNLEARNED):
        logs = tmp_path / name / "logs"
        logs.mkdir(parents=True)
        rows = [f"0,{step},{0.9 / (step + place)},{0.8 - 0.05 * step}" for step in range(1, STEPS + 1)]
        (logs / "metrics.csv").write_text("\n".join([f"epoch,step,{FORGET},{RETAIN}", *rows, ",9,0.5,"]))
    assert way(tmp_path / UNLEARNED[0] / "logs" / "metrics.csv")[1] == (0.8 - 0.05 * 2, 0.9 / 2)
    animate(str(tmp_path), str(tmp_path / "a.gif"))
    with Image.open(tmp_path / "a.gif") as moving:
        frames = moving.n_frames
        moving.seek(frames - 1)
        assert frames == STEPS + 1
        assert moving.info["duration"] == 500 * (PAUSE + 1)  # equal frames become one
    assert (tmp_path / "a.gif").stat().st_size < 500_000
