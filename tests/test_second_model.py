"""Lessons on another model: another tower, another dimension, random weights, no cell changed.

Its accuracies are at chance, so nothing that a lesson asserts may rest on PocketCLIP's.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import nbformat
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from tools.execute_notebooks import changes, execute

ROOT = Path(__file__).resolve().parent.parent
CONFIG = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
LESSONS = [
    "00_tour",
    "01_embedding_space",
    "03_nullspace_forgetting",
    "04_partial_and_consistent",
    "05_what_should_a_name_become",
    "06_forget_retain_lab",
    "07_is_it_really_gone",
    "08_paper_protocol",
    "09_your_own_model",
    "electives/confidence",
    "electives/leace",
    "electives/one_style_only",
    "electives/relearning",
]
#: lessons that do not print the dimension of the space
WITHOUT_DIMENSION = ["06_forget_retain_lab", "08_paper_protocol", "electives/one_style_only"]


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("second") / "vit"
    folder.mkdir()
    torch.manual_seed(1)
    model = open_clip.CLIP(**CONFIG)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    config = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson_runs_on_a_second_model(lesson, second_model, monkeypatch):
    monkeypatch.setenv("CLIPNULL_MODEL", second_model)
    path = ROOT / "notebooks" / f"{lesson}.ipynb"
    stored = nbformat.read(path, as_version=4)
    nb = execute(copy.deepcopy(stored), path.parent)
    assert changes(stored, nb), "it shows PocketCLIP's numbers"
    printed = "".join(out.get("text", "") for cell in nb.cells for out in cell.get("outputs", []))
    if lesson not in WITHOUT_DIMENSION:
        assert re.search(r"\b48\b", printed), "the dimension of the second model"
    assert [c.source for c in nb.cells] == [c.source for c in stored.cells]
