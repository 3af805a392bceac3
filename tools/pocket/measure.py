"""Measure PocketCLIP, or any open_clip folder, on Twemoji, which it was never trained on.

    python -m tools.pocket.measure                       # the shipped model, figures as JSON
    python -m tools.pocket.measure build/pocket/model    # one just trained
    python -m tools.pocket.measure --forget              # also forgets classroom names, one and ten at once
    python -m tools.pocket.measure --write               # everything, into the model card

Accuracies are fractions in the JSON and percent in the model card.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import clipnull as cn
from clipnull import subspace
from clipnull.datasets import LabelledImages

CARD = Path(cn.__file__).parent / "pocket" / "README.md"
START, END = "<!-- measured: start -->", "<!-- measured: end -->"
#: images per class, the default of `datasets.load`; the first is the clean one
SCENES = 8
#: names forgotten at once, how often they are drawn, and the share of the kept names that T_r holds then
TEN, DRAWS, LISTED = 10, 5, 0.3


def accuracy(Z: torch.Tensor, T: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Zero-shot top-1 and top-5 accuracy (fractions) of image embeddings [n, d] against names [C, d]."""
    top = (Z @ T.T).topk(min(5, len(T)), dim=1).indices
    hit = top == labels[:, None]
    return {"top1": float(hit[:, 0].double().mean()), "top5": float(hit.any(1).double().mean())}


def geometry(Z: torch.Tensor | None, T: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, float]:
    """The cone and the modality gap, as mean cosines and norms of means; unit rows.

    text_text is over pairs of distinct classes; matched is an image with its own name, unmatched
    with all the others. Without images the names alone.
    """
    text = T @ T.T
    found = {
        "text_text": float(text[~torch.eye(len(T), dtype=torch.bool)].mean()),
        "norm_of_mean_text": float(T.mean(0).norm()),
    }
    if Z is None or labels is None:
        return found
    cross = Z @ T.T
    own = torch.zeros_like(cross, dtype=torch.bool)
    own[torch.arange(len(Z)), labels] = True
    return {
        **found,
        "norm_of_mean_image": float(Z.mean(0).norm()),
        "matched": float(cross[own].mean()),
        "unmatched": float(cross[~own].mean()),
    }


def width(X: torch.Tensor) -> dict[str, float]:
    """In how many dimensions some embeddings [n, d] lie, about their mean; of any model.

    components_k is how many principal components have k percent of the variance.
    """
    share = subspace.variance_shares(X).cumsum(0)
    count = {f"components_{k}": float((share < k / 100 - 1e-9).sum() + 1) for k in (50, 90, 99)}
    return {"participation_ratio": subspace.participation_ratio(X), **count}


def nearest_of_a_kind(T: torch.Tensor, groups: Sequence[str]) -> float:
    """Share of the names [C, d], unit rows, whose nearest other name is of the same group."""
    near = (T @ T.T).fill_diagonal_(-2).argmax(1)
    return statistics.fmean(groups[i] == groups[j] for i, j in enumerate(near.tolist()))


def two_prompts(clip: cn.Clip, classes: Sequence[str], templates: Sequence[str]) -> float:
    """Mean cosine of two prompts of one name: over the names and all pairs of different templates."""
    X = torch.stack([clip.embed_text(classes, templates=[t]) for t in templates], 1)
    pairs = torch.triu_indices(len(templates), len(templates), 1)
    return float((X @ X.mT)[:, pairs[0], pairs[1]].mean())


def shape(
    clip: cn.Clip, Z: torch.Tensor, T: torch.Tensor, labels: torch.Tensor, data: LabelledImages
) -> dict[str, float]:
    """`geometry`, `width` of the names, participation ratio of the pictures, prompts and neighbours."""
    kinds = {c["label"]: c["subcategory"] for c in cn.datasets.class_table()}
    return {
        **geometry(Z, T, labels),
        **width(T),
        "participation_ratio_images": width(Z)["participation_ratio"],
        "two_prompts": two_prompts(clip, data.classes, data.templates),
        "nearest_of_a_kind": nearest_of_a_kind(T, [kinds[name] for name in data.classes]),
    }


def real_shapes() -> dict[str, dict[str, float]]:
    """The same of the two real CLIPs whose embeddings ship, as far as these go."""
    found = {}
    coco, lvis = cn.datasets.embeddings("coco"), cn.datasets.embeddings("lvis")
    for real, title in ((coco, "COCO, ViT-B/16"), (lvis, "LVIS, ViT-B/32")):
        found[title] = {**geometry(real.Z, real.T, real.labels), **width(real.T)}
        if real.Z is not None:
            found[title]["participation_ratio_images"] = width(real.Z)["participation_ratio"]
    return found


def parameters(clip: cn.Clip) -> dict[str, int]:
    """How many parameters, with and without the token table, and how many of its rows are used."""
    table = clip.model.token_embedding.weight
    total = sum(p.numel() for p in clip.model.parameters())
    return {
        "parameters": total,
        "without_token_table": total - table.numel(),
        "token_rows_used": int((table != 0).any(1).sum()),
    }


def zero_shot(clip: cn.Clip, subset: str | list[str] = "all") -> dict[str, Any]:
    """Accuracy over all classes, over classroom and by category, clean and with scenes; geometry.

    Of a part of the classes (``subset``, as `datasets.load` takes it) without the classroom.
    """
    data = cn.datasets.load("twemoji", subset=subset, size=clip.image_size)
    T = clip.embed_text(data.classes, templates=data.templates)
    Z, labels = clip.embed_images(data.images), data.labels
    clean = data.scene == 0
    result: dict[str, Any] = {
        "all": {
            "classes": len(T),
            "clean": accuracy(Z[clean], T, labels[clean]),
            "scenes": accuracy(Z[~clean], T, labels[~clean]),
        },
        "categories": {},
        "geometry_all": shape(clip, Z[clean], T, labels[clean], data),
    }
    category = [data.categories[c] for c in labels.tolist()]
    for name in dict.fromkeys(data.categories):
        rows = torch.tensor([c == name for c in category])
        result["categories"][name] = {
            "classes": data.categories.count(name),
            "clean": accuracy(Z[rows & clean], T, labels[rows & clean]),
            "scenes": accuracy(Z[rows & ~clean], T, labels[rows & ~clean]),
        }
    if subset != "all":
        return result
    # classroom is a part of the same images: nothing is embedded twice
    picked = cn.datasets.classroom()
    rows = torch.isin(labels, torch.tensor(picked))
    room = torch.searchsorted(torch.tensor(picked), labels)
    result["classroom"] = {
        "classes": len(picked),
        "clean": accuracy(Z[rows & clean], T[picked], room[rows & clean]),
        "scenes": accuracy(Z[rows & ~clean], T[picked], room[rows & ~clean]),
    }
    part = data.subset(picked)
    result["geometry_classroom"] = shape(clip, Z[rows & clean], T[picked], room[rows & clean], part)
    return result


def classroom_case(clip: cn.Clip) -> cn.Case:
    """All the classroom's pictures and names; its forget set plays no part."""
    data = cn.datasets.load("twemoji", size=clip.image_size)
    T = clip.embed_text(data.classes, templates=data.templates)
    case = cn.Case(clip.embed_images(data.images), T, data.labels, [0], data.classes)
    return case


def one_at_a_time(case: cn.Case, seed: int = 0) -> dict[str, dict[str, float]]:
    """Forget each class alone; as `forgetting` returns it."""
    return forgetting([case.forgetting([f]) for f in range(len(case.T))], seed)


def ten_at_once(case: cn.Case, seed: int = 0) -> dict[str, dict[str, float]]:
    """Forget `TEN` classes, drawn `DRAWS` times, T_r being a random `LISTED` of the others."""
    drawn = cn.trials(case, TEN, draws=DRAWS, seed=seed, listed=LISTED)
    return forgetting([trial.test for trial in drawn], seed)


def forgetting(cases: Sequence[cn.Case], seed: int = 0) -> dict[str, dict[str, float]]:
    """Every method at its defaults, on the image side, all names of a case as candidates.

    Returns
    -------
    dict of method -> before, full, two_way, ten_way, search, listed, unlisted, certificate
        Means over the cases of fractions: full recall before and after, 2-way and 10-way recall and
        search (AUC) after, retain after as a share of before, on the classes that T_r lists and on the
        other kept ones; the largest certificate over all kept names, a lead in cosine. NaN: has none.
    """
    reports: dict[str, list[cn.Report]] = {}
    for i, case in enumerate(cases):
        for name, method in cn.METHODS.items():
            edit = method.make(case.T_f, case.T_r, seed=seed + i)
            reports.setdefault(name, []).append(case.evaluate(edit))
        reports.setdefault("candidate masking", []).append(cn.candidate_masking(case))
    found = {}
    for name, of_method in reports.items():
        means = {
            "before": [r.forget_before for r in of_method],
            "full": [r.forget_after for r in of_method],
            "two_way": [r.n_way[2].after for r in of_method],
            "ten_way": [r.n_way[10].after for r in of_method],
            "search": [r.search.after for r in of_method],
            "listed": [r.retained_listed for r in of_method],
            "unlisted": [r.retained_unlisted for r in of_method],
        }
        kept = [(r.edit, r.case.T_f, r.case.T[r.case.retain]) for r in of_method if r.edit]
        leads = [float(cn.certificate(*each).max()) for each in kept]
        found[name] = {k: statistics.fmean(v) for k, v in means.items()}
        found[name]["certificate"] = max(leads, default=math.nan)
    return found


def measure(
    folder: Path | None = None, forget: bool = False, subset: str | list[str] = "all"
) -> dict[str, Any]:
    """Everything the model card states about an open_clip folder (default: the shipped one).

    Parameters
    ----------
    folder : Path, optional
    forget : bool
        Also `one_at_a_time` and `ten_at_once`.
    subset : str or list of str
        As in `zero_shot`.
    """
    clip = cn.load(f"local-dir:{folder or CARD.parent}", device="cpu")
    result = {**parameters(clip), **zero_shot(clip, subset), "real": real_shapes()}
    if forget:
        case = classroom_case(clip)
        result |= {"one_at_a_time": one_at_a_time(case), "ten_at_once": ten_at_once(case)}
    return result


# --- the model card ------------------------------------------------------------------------


def _row(*cells: object) -> str:
    return "| " + " | ".join(f"{100 * c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |"


def _forgotten(found: dict[str, dict[str, float]]) -> list[str]:
    """What `forgetting` found, as a table without the columns that nothing has."""
    names = {
        "before": "full, before",
        "full": "full",
        "two_way": "2-way",
        "ten_way": "10-way",
        "search": "search",
        "listed": "kept",
        "unlisted": "kept, not listed",
        "certificate": "largest certificate",
    }
    keys = [k for k in names if not all(math.isnan(values[k]) for values in found.values())]
    rows = [
        [name, *(f"{values[k]:.2f}" if k == "certificate" else values[k] for k in keys)]
        for name, values in found.items()
    ]
    head = [_row("method", *(names[k] for k in keys)), _row("---", *["---:"] * len(keys))]
    return [*head, *(_row(*row).replace("nan", "–") for row in rows)]


def card(result: dict[str, Any]) -> str:
    """The measured part of the model card, as Markdown."""
    lines = [
        f"Parameters: {result['without_token_table']:,} without the token table, "
        f"{result['parameters']:,} with it ({result['token_rows_used']:,} of its rows are used).",
        "",
        "Zero-shot accuracy on Twemoji, %, prompts averaged over the templates. Clean: one image per "
        f"class, on white. Scenes: {SCENES - 1} per class, medium or large, turned, on any background. "
        "By category the candidates are still all the classes.",
        "",
        _row("", "classes", "clean, top-1", "clean, top-5", "scenes, top-1", "scenes, top-5"),
        _row("---", *["---:"] * 5),
    ]
    parts = {"all": result["all"], "classroom": result["classroom"], **result["categories"]}
    for name, r in parts.items():
        lines.append(
            _row(name, r["classes"], *(r[k][t] for k in ("clean", "scenes") for t in ("top1", "top5")))
        )
    lines += ["", "Clean images leave a tenth of the width free, as the training art does on average."]
    names = {
        "text_text": "mean cosine between different names",
        "norm_of_mean_text": "norm of the mean text embedding",
        "norm_of_mean_image": "norm of the mean image embedding",
        "matched": "mean cosine, image with its own name",
        "unmatched": "mean cosine, image with other names",
        "two_prompts": "mean cosine between two prompts of one name",
        "nearest_of_a_kind": "share of names whose nearest name is of their Unicode subcategory",
        "participation_ratio": "participation ratio of the names",
        "participation_ratio_images": "participation ratio of the images",
        "components_50": "components for 50% of the names' variance",
        "components_90": "… 90%",
        "components_99": "… 99%",
    }
    shapes = {k: result[f"geometry_{k}"] for k in ("all", "classroom")} | result["real"]
    lines += [
        "",
        "Geometry, clean images; beside it that of two real CLIPs, from the embeddings that ship (160 "
        "photographs and 80 names of COCO, 1,203 names of LVIS):",
        "",
        _row("", *shapes),
        _row("---", *["---:"] * len(shapes)),
    ]
    for key, what in names.items():
        digits = 0 if "components" in key else 1 if "ratio" in key else 4 if key == "two_prompts" else 2
        lines.append(_row(what, *(f"{g[key]:.{digits}f}" if key in g else "–" for g in shapes.values())))
    if "one_at_a_time" in result:
        lines += [
            "",
            f"Forgetting each classroom class alone, image side, {SCENES} images per class; means over the "
            "classes, %; chance is 50 for 2-way recall and search. Kept: retain after as a share of before. "
            "The largest certificate is a lead in cosine.",
            "",
            *_forgotten(result["one_at_a_time"]),
            "",
            "One name projected out scores 0 on every image, and where all others score less it wins: on "
            f"{100 * result['one_at_a_time']['nullspace']['full']:.1f}% of its own.",
            "",
            f"Forgetting {TEN} classroom classes at once, means over {DRAWS} draws, %; T_r lists a random "
            f"{LISTED:.0%} of the others, and what is kept is shown for those and for the rest.",
            "",
            *_forgotten(result["ten_at_once"]),
        ]
    return "\n".join(lines)


def write(result: dict[str, Any], path: Path = CARD) -> None:
    """Replace the marked block of the model card."""
    text = path.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise ValueError(f"path: {str(path)!r} has no block between {START!r} and {END!r}")
    block = f"{START}\n{card(result)}\n{END}"
    text = re.sub(re.escape(START) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL)
    path.write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Command line; returns what it prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="an open_clip folder (default: the shipped one)")
    parser.add_argument("--forget", action="store_true", help="forget classroom names, one and ten at once")
    parser.add_argument("--write", action="store_true", help=f"fill the marked block of {CARD.name}")
    args = parser.parse_args(argv)
    start = time.perf_counter()
    result = measure(args.folder, forget=args.forget or args.write)
    result["seconds"] = round(time.perf_counter() - start, 1)
    if args.write:
        write(result)
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
