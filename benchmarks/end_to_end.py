"""From names to an edited PocketCLIP: the closed form against the two trained baselines.

    python benchmarks/end_to_end.py --threads 2

Every turn starts from class names and ends with a model whose last layer is edited. The baselines are
those of `clipnull.protocol`, trained once with their default settings; a search for better ones would
come on top. Gradient ascent needs labelled pictures, drawn beforehand and embedded in each turn; LoRA
needs the embedding of the empty prompt. Accuracies are measured, outside the time, on pictures that
nothing was trained on. The folded model is checked to give the embeddings that were evaluated.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from _timing import arguments, begin, ratio, spread, table

import clipnull as cn
from clipnull.protocol.baselines import gradient_forgetting, lora_forgetting

CLOSED = ("nullspace", "ccup", "mean", "hull")
METHODS = (*CLOSED, "lora", "gradient")


class Forgetting:
    """One way from names to an edited model, and the times of its stages in each turn."""

    stages = ("names", "pictures", "fit", "fold")

    def __init__(
        self, method: str, clip: cn.Clip, data: cn.datasets.LabelledImages, forget: list[int]
    ) -> None:
        self.method, self.clip, self.data, self.forget = method, clip, data, forget
        self.retain = [c for c in range(len(data.classes)) if c not in forget]
        self.pictures, self.labels = list(data.images), torch.as_tensor(data.labels)
        self.times: dict[str, list[float]] = {stage: [] for stage in (*self.stages, "total")}
        self.edit, self.side = cn.Edit(torch.zeros(clip.dim, 0), torch.zeros(clip.dim, 0)), "image"

    def turn(self) -> None:
        """Forget, note the times in milliseconds, and unfold again."""
        clock = [time.perf_counter()]
        T = self.clip.embed_text(self.data.classes, templates=self.data.templates)
        if self.method == "lora":
            with torch.no_grad():  # `embed_text` refuses an empty name
                empty = self.clip.model.encode_text(self.clip.tokenizer([""]), normalize=True)
        clock.append(time.perf_counter())
        if self.method == "gradient":
            Z = self.clip.embed_images(self.pictures)
        clock.append(time.perf_counter() if self.method == "gradient" else clock[-1])
        if self.method == "lora":
            run = lora_forgetting(T[self.forget], T[self.retain], empty)
            self.edit, self.side = run.edit, run.side
        elif self.method == "gradient":
            case = cn.Case(Z, T, self.labels, self.forget)
            run = gradient_forgetting(case, scale=self.clip.logit_scale)
            self.edit, self.side = run.edit, run.side
        else:
            self.edit = cn.METHODS[self.method].make(T[self.forget], T[self.retain])
        clock.append(time.perf_counter())
        cn.fold(self.clip, self.edit, self.side)
        clock.append(time.perf_counter())
        cn.unfold(self.clip)
        spent = [1000 * (end - start) for start, end in itertools.pairwise(clock)]
        for stage, t in zip(self.times, [*spent, sum(spent)], strict=True):
            self.times[stage].append(t)

    def check_fold(self) -> None:
        """The folded model embeds as the edit says."""
        few, names = self.pictures[:4], self.data.classes[:4]
        before = (self.clip.embed_images(few), self.clip.embed_text(names))
        with cn.folded(self.clip, self.edit, self.side):
            after = (self.clip.embed_images(few), self.clip.embed_text(names))
        apply = {"image": self.edit.apply_image, "text": self.edit.apply_text}
        for side, old, new in zip(apply, before, after, strict=True):
            want = apply[side](old) if side == self.side else old
            torch.testing.assert_close(new, F.normalize(want, dim=1), rtol=0, atol=2e-4)


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    forget_by_default = ["tiger", "pizza", "airplane", "guitar", "pencil"]
    parser.add_argument("--forget", nargs="+", default=forget_by_default, metavar="CLASS")
    parser.add_argument("--subset", nargs="+", default=["classroom"], help="of Twemoji, or class names")
    parser.add_argument(
        "--scenes", type=int, default=4, help="pictures per class to train on, and to test on"
    )
    options = begin(parser, argv)

    clip = cn.load("pocket", device="cpu")
    subset = options.subset if len(options.subset) > 1 else options.subset[0]
    train = cn.datasets.load("twemoji", subset=subset, scenes=options.scenes, seed=1)
    # scene 0 is the same clean picture for every seed: only the others are new
    test = cn.datasets.load("twemoji", subset=subset, scenes=options.scenes + 1, seed=0)
    new = [i for i in range(len(test)) if i % (options.scenes + 1)]
    forget = [train.classes.index(name) for name in options.forget]
    ways = [Forgetting(method, clip, train, forget) for method in METHODS]
    for turn in range(options.repeats + 1):
        for way in ways:
            if turn == 1:  # the first turn is not measured
                way.times = {stage: [] for stage in way.times}
            way.turn()

    T = clip.embed_text(test.classes, templates=test.templates)
    Z, labels = clip.embed_images(test.images[new]), torch.as_tensor(test.labels)[new]
    case = cn.Case(Z, T, labels, forget)
    reports = {way.method: case.evaluate(way.edit, way.side) for way in ways}
    for way in ways:
        way.check_fold()
    before = reports[CLOSED[0]]
    print(
        f"Forget {', '.join(options.forget)} among {len(T)} names × {len(train.templates)} templates; "
        f"{len(train)} pictures to train on, {len(Z)} others to test on. Before: forget "
        f"{100 * before.forget_before:.1f}%, 2-way {100 * before.n_way[2].before:.1f}%, search "
        f"{100 * before.search.before:.1f}%, retain {100 * before.retain_before:.1f}%\n"
    )
    closed = ways[CLOSED.index("mean")]
    rows = [
        (way.method, *map(spread, way.times.values()))
        + (ratio(way.times["fit"], closed.times["fit"]), ratio(way.times["total"], closed.times["total"]))
        + tuple(
            f"{100 * x:.1f}"
            for x in (report.forget_after, report.n_way[2].after, report.search.after, report.retained)
        )
        for way, report in zip(ways, reports.values(), strict=True)
    ]
    head = ["method", *(f"{stage}, ms" for stage in closed.times), "fit / mean's", "total / mean's"]
    table([*head, "full, %", "2-way, %", "search, %", "kept, %"], rows)


if __name__ == "__main__":
    main()
