"""Measure PocketCLIP, or any open_clip folder, on Twemoji, which it was never trained on.

    python -m tools.pocket.measure                       # the shipped model, figures as JSON
    python -m tools.pocket.measure build/pocket/model    # one just trained
    python -m tools.pocket.measure --one-at-a-time       # also forgets each classroom class in turn
    python -m tools.pocket.measure --write               # everything, into the model card

Accuracies are fractions in the JSON and percent in the model card.
"""

from __future__ import annotations

import argparse
import json
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
#: images per class in the measurements "with scenes"; the first is the clean one
SCENES = 4


def accuracy(Z: torch.Tensor, T: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Zero-shot top-1 and top-5 accuracy (fractions) of image embeddings [n, d] against names [C, d]."""
    top = (Z @ T.T).topk(min(5, len(T)), dim=1).indices
    hit = top == labels[:, None]
    return {"top1": float(hit[:, 0].double().mean()), "top5": float(hit.any(1).double().mean())}


def geometry(Z: torch.Tensor, T: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """The cone and the modality gap, as mean cosines and norms of means; unit rows.

    text_text is over pairs of distinct classes; matched is an image with its own name, unmatched
    with all the others.
    """
    text, cross = T @ T.T, Z @ T.T
    own = torch.zeros_like(cross, dtype=torch.bool)
    own[torch.arange(len(Z)), labels] = True
    return {
        "text_text": float(text[~torch.eye(len(T), dtype=torch.bool)].mean()),
        "norm_of_mean_text": float(T.mean(0).norm()),
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
    return {
        **geometry(Z, T, labels),
        **width(T),
        "participation_ratio_images": width(Z)["participation_ratio"],
        "two_prompts": two_prompts(clip, data.classes, data.templates),
        "nearest_of_a_kind": nearest_of_a_kind(T, data.subcategories),
    }


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
    data = cn.datasets.load("twemoji", subset=subset, scenes=SCENES, size=clip.image_size)
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


def one_at_a_time(clip: cn.Clip, seed: int = 0) -> dict[str, dict[str, float]]:
    """Forget each classroom class alone, by every method; means over the classes.

    Image-side edits, classroom names as candidates, `SCENES` images per class.

    Returns
    -------
    dict of method -> forget_before, forget_after, two_way, search, retained, certificate
        Means of fractions: full recall before and after, 2-way recall and search (AUC) after, the mean
        of retain after / retain before; the largest certificate, a lead in cosine. NaN: has none.
    """
    data = cn.datasets.load("twemoji", scenes=SCENES, size=clip.image_size)
    T = clip.embed_text(data.classes, templates=data.templates)
    Z = clip.embed_images(data.images)
    reports: dict[str, list[cn.Report]] = {}
    cases = cn.Case(Z, T, data.labels, [0])
    for f in range(len(T)):
        case = cases.forgetting([f])
        for name, method in cn.METHODS.items():
            edit = method.make(case.T_f, case.T_r, seed=seed + f)
            reports.setdefault(name, []).append(case.evaluate(edit))
        reports.setdefault("candidate masking", []).append(cn.candidate_masking(case))
    found = {}
    for name, of_method in reports.items():
        means = {k: [getattr(r, k) for r in of_method] for k in ("forget_before", "forget_after")}
        means |= {"two_way": [r.n_way[2].after for r in of_method]}
        means |= {"search": [r.search.after for r in of_method], "retained": [r.retained for r in of_method]}
        leads = [float(cn.certificate(r.edit, r.case.T_f, r.case.T_r)) for r in of_method if r.edit]
        found[name] = {k: statistics.fmean(v) for k, v in means.items()}
        found[name]["certificate"] = max(leads, default=float("nan"))
    return found


def measure(
    folder: Path | None = None, forget: bool = False, subset: str | list[str] = "all"
) -> dict[str, Any]:
    """Everything the model card states about an open_clip folder (default: the shipped one).

    Parameters
    ----------
    folder : Path, optional
    forget : bool
        Also `one_at_a_time`.
    subset : str or list of str
        As in `zero_shot`.
    """
    clip = cn.load(f"local-dir:{folder or CARD.parent}", device="cpu")
    result = {**parameters(clip), **zero_shot(clip, subset)}
    if forget:
        result["one_at_a_time"] = one_at_a_time(clip)
    return result


# --- the model card ------------------------------------------------------------------------


def _row(*cells: object) -> str:
    return "| " + " | ".join(f"{100 * c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |"


def card(result: dict[str, Any]) -> str:
    """The measured part of the model card, as Markdown."""
    lines = [
        f"Parameters: {result['without_token_table']:,} without the token table, "
        f"{result['parameters']:,} with it ({result['token_rows_used']:,} of its rows are used).",
        "",
        "Zero-shot accuracy on Twemoji, %, prompts averaged over the templates. Clean: one image per "
        f"class, on white. Scenes: {SCENES - 1} images per class, turned, scaled, on a background. By "
        "category the candidates are still all the classes.",
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
    lines += ["", "Geometry, clean images:", "", _row("", "all", "classroom"), _row("---", "---:", "---:")]
    for key, what in names.items():
        digits = 0 if "components" in key else 1 if "ratio" in key else 4 if key == "two_prompts" else 2
        values = [f"{result[g][key]:.{digits}f}" for g in ("geometry_all", "geometry_classroom")]
        lines.append(_row(what, *values))
    if "one_at_a_time" in result:
        lines += [
            "",
            f"Forgetting each classroom class alone, image side, {SCENES} images per class; means over the "
            "classes, %; chance is 50 for 2-way recall and search. Kept: retain after as a share of before. "
            "The largest certificate is a lead in cosine.",
            "",
            _row("method", "full, before", "full", "2-way", "search", "kept", "largest certificate"),
            _row("---", *["---:"] * 6),
            *(
                _row(method, *list(values.values())[:-1], f"{values['certificate']:.2f}").replace("nan", "–")
                for method, values in result["one_at_a_time"].items()
            ),
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
    parser.add_argument("--one-at-a-time", action="store_true", help="forget each classroom class in turn")
    parser.add_argument("--write", action="store_true", help=f"fill the marked block of {CARD.name}")
    args = parser.parse_args(argv)
    start = time.perf_counter()
    result = measure(args.folder, forget=args.one_at_a_time or args.write)
    result["seconds"] = round(time.perf_counter() - start, 1)
    if args.write:
        write(result)
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
