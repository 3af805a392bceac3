"""Images per second: `Clip.embed_images` against a bare forward loop, and against CLIP_benchmark.

    python benchmarks/throughput.py --threads 2

The first table embeds preprocessed tensors that lie in memory: what is compared is the package's loop
with open_clip's model called in batches and nothing else. The second starts from picture files and ends
in an accuracy: names, pictures and scores, by this package and by CLIP_benchmark's own evaluation of the
same model (single precision, no worker processes, the same batch size); without `clip-benchmark` it is
left out. Both sides are checked to give the same embeddings, or the same accuracy. Features come from no
cache.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _timing import arguments, begin, milliseconds, ratio, spread, table

import clipnull as cn


def embedding(model: str, n: int, batch: int, repeats: int) -> tuple[Any, ...]:
    """One row of the first table."""
    clip = cn.load(model, device="cpu")
    size = clip.image_size
    assert isinstance(size, int)
    pixels = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))

    def ours() -> torch.Tensor:
        return clip.embed_images(pixels, batch_size=batch)

    def bare() -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([clip.model.encode_image(x, normalize=True) for x in pixels.split(batch)])

    torch.testing.assert_close(ours(), bare(), rtol=1e-4, atol=1e-5)
    times = milliseconds(ours, bare, repeats=repeats)
    speeds = [[1000 * n / t for t in side] for side in times]
    shares = [mine / other for mine, other in zip(*speeds, strict=True)]  # turn by turn
    share = f"{statistics.median(shares):.2f} ({min(shares):.2f}–{max(shares):.2f})"
    return f"{model}, {size} px", f"{n:,}", *map(spread, speeds), share


def evaluation(subset: Any, scenes: int, batch: int, repeats: int) -> None:
    """Print the table of zero-shot evaluations."""
    from clip_benchmark.metrics import zeroshot_classification as theirs
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    clip = cn.load("pocket", device="cpu")
    data = cn.datasets.load("twemoji", subset=subset, scenes=scenes)
    templates = [t.format("{c}") for t in data.templates]

    with tempfile.TemporaryDirectory() as folder:
        # numbered folders keep the classes in their order
        for i, (image, label) in enumerate(data):
            path = Path(folder, f"{label:04d}", f"{i:06d}.png")
            path.parent.mkdir(exist_ok=True)
            image.save(path)
        files = cn.datasets.load(f"folder:{folder}")
        loader = DataLoader(ImageFolder(folder, clip.preprocess), batch_size=batch)
        labels = torch.as_tensor(files.labels)

        def ours() -> float:
            T = clip.embed_text(data.classes, templates=data.templates, batch_size=batch)
            Z = clip.embed_images(files.images, batch_size=batch)
            return float(((Z @ T.T).argmax(1) == labels).double().mean())

        def benchmark() -> float:
            # what its `evaluate` does before its own accuracy function, which recent NumPy refuses
            with contextlib.redirect_stderr(io.StringIO()):  # progress bars
                classifier = theirs.zero_shot_classifier(
                    clip.model, clip.tokenizer, data.classes, templates, "cpu", amp=False
                )
                logits, target = theirs.run_classification(clip.model, classifier, loader, "cpu", amp=False)
            return float((logits.argmax(1) == target).double().mean())

        accuracy, other = ours(), benchmark()
        assert abs(accuracy - other) < 1e-9, (accuracy, other)
        mine, others = ([t / 1000 for t in side] for side in milliseconds(ours, benchmark, repeats=repeats))

    prompts = f"{len(data.classes)} names × {len(templates)} templates"
    print(f"Zero-shot evaluation from files: {len(files)} pictures, {prompts}, top-1 {100 * accuracy:.1f}%\n")
    head = ("model", "clipnull, s", "CLIP_benchmark, s", "times faster")
    table(head, [("pocket", spread(mine), spread(others), ratio(others, mine))])


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["pocket:1024", "ViT-B-32:128"], metavar="MODEL:IMAGES"
    )
    parser.add_argument("--subset", nargs="+", default=["classroom"], help="of Twemoji, or class names")
    parser.add_argument("--scenes", type=int, default=4, help="pictures per class (default: 4)")
    parser.add_argument("--batch", type=int, default=64)
    options = begin(parser, argv)
    asked = [model.rsplit(":", 1) for model in options.models]
    print(f"Tensors in memory, batches of {options.batch}\n")
    rows = [embedding(model, int(n), options.batch, options.repeats) for model, n in asked]
    head = ("model", "images", "embed_images, images/s", "bare loop, images/s", "share of the bare loop")
    table(head, rows)
    if importlib.util.find_spec("clip_benchmark") is None:
        print('No zero-shot evaluation: clip-benchmark is not installed (pip install -e ".[bench]")')
        return
    subset = options.subset if len(options.subset) > 1 else options.subset[0]
    evaluation(subset, options.scenes, options.batch, options.repeats)


if __name__ == "__main__":
    main()
