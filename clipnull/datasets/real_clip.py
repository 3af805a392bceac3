"""Embeddings of two real CLIPs that ship with the package: numbers only, no photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch.nn.functional as F

from clipnull import _check
from clipnull.datasets.arrays import Embeddings

__all__ = ["embeddings"]

FOLDER = Path(__file__).parent / "real"
FILES = {"coco": "coco160_vit_b_16.safetensors", "lvis": "lvis1203_vit_b_32.safetensors"}


def embeddings(name: Literal["coco", "lvis"], prompt: Literal["single", "multi"] = "single") -> Embeddings:
    """What OpenAI's CLIP makes of COCO's photographs and names, or of the names of LVIS.

    Parameters
    ----------
    name : {"coco", "lvis"}
        ViT-B/16; 160 photographs of COCO val2017 with one category of object (28 of them), and the 80
        category names. Or ViT-B/32; the 1,203 category names of LVIS v1; ``Z`` and ``labels`` are None.
    prompt : {"single", "multi"}
        Of COCO's names: "a photo of a {}.", or the mean over many. LVIS has one prompt, "a {}".

    Returns
    -------
    Embeddings
        d = 512 (stored in half precision).

    References
    ----------
    Photographs: Liang et al., Mind the Gap (arXiv 2203.02053), and COCO. Names: ZegCLIP (arXiv
    2212.03588) and Detic (arXiv 2201.02605). Licences are in NOTICE.
    """
    from safetensors import safe_open

    _check.one_of("name", name, FILES)
    _check.one_of("prompt", prompt, ["single", "multi"] if name == "coco" else ["single"])
    with safe_open(FOLDER / FILES[name], "pt") as file:
        classes = json.loads(file.metadata()["names"])
        T = F.normalize(file.get_tensor("name" if name == "lvis" else f"name_{prompt}").float(), dim=1)
        if name == "lvis":
            return Embeddings(None, T, None, classes)
        Z = F.normalize(file.get_tensor("image").float(), dim=1)
        return Embeddings(Z, T, file.get_tensor("label").long(), classes)
