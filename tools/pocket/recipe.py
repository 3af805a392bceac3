"""The recipe of PocketCLIP: fetch emoji art, draw scenes of it, train, export, measure.

    python -m tools.pocket.recipe --work build/pocket            # all of it, about two hours
    python -m tools.pocket.recipe --work build/pocket --quick    # the same path in seconds

A run that was stopped goes on with the same command. ``--prepare`` stops before the training;
``--look-up`` reads the kinds of the classes from WordNet (Debian's wordnet-base) instead of from the
shipped class table.

Run from the project's folder, with npm on the path (the first time only).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from clipnull import datasets
from tools.pocket import art, kinds, measure
from tools.pocket.scenes import Sprites
from tools.pocket.train import Run, Settings


def prepare(
    work: Path, look_up: bool = False, limit: int | None = None
) -> tuple[list[dict[str, Any]], Sprites]:
    """Class table, kinds included, and sprites; fetched and drawn once, read from ``work`` after that.

    Parameters
    ----------
    work : Path
    look_up : bool
        Kinds from WordNet, else from the class table that ships.
    limit : int, optional
        About so many emoji, not stored.
    """
    stored, table = work / "sprites.npz", work / "classes.json"
    if limit is None and stored.is_file() and table.is_file():
        classes, arrays = json.loads(table.read_text(encoding="utf-8")), art.load_sprites(stored)
    else:
        art.fetch(work / "packs")
        classes, arrays = art.build(work / "packs", limit)
        if limit is None:
            art.write_classes(classes, table)
            art.save_sprites(arrays, stored)
    shipped = {c["label"]: c["kinds"] for c in datasets.class_table()}
    found = kinds.look_up(classes) if look_up else [shipped.get(c["label"], []) for c in classes]
    return [{**c, "kinds": names} for c, names in zip(classes, found, strict=True)], Sprites(arrays)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("build/pocket"), help="downloads, state and result")
    parser.add_argument("--quick", action="store_true", help="about 40 classes, 3 steps: a test of the path")
    parser.add_argument("--prepare", action="store_true", help="art and class table only")
    parser.add_argument("--look-up", action="store_true", help="kinds from WordNet")
    parser.add_argument("--threads", type=int, help="processor threads (may change when a run goes on)")
    parser.add_argument("--save-every", type=float, default=300.0, help="seconds between saves")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a GPU")
    for field in fields(Settings):
        kind = float if isinstance(field.default, float) else int
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=kind, default=field.default, help="as Settings in train.py says")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    classes, sprites = prepare(args.work, args.look_up, 60 if args.quick else None)
    out = args.work / ("quick" if args.quick else "model")
    out.mkdir(parents=True, exist_ok=True)
    art.write_classes(classes, out / "classes.json")
    print(f"{len(classes)} classes, {len(sprites.rgba)} sprites")
    if args.prepare:
        return
    state = None if args.quick else args.work / "state.pt"
    run = Run(
        classes,
        sprites.to(args.device),
        replace(settings, steps=3) if args.quick else settings,
        state,
        args.device,
    )
    if run.step:
        print(f"goes on from step {run.step} of {run.steps}")
    run.train(out, args.save_every)
    result = measure.measure(out, subset=[c["label"] for c in classes] if args.quick else "all")
    print(json.dumps(result, indent=2))
    print(f"wrote {out}; to ship it, copy it over clipnull/pocket")


if __name__ == "__main__":
    main()
