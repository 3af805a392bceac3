"""A Hugging Face CLIPModel: edited as it is, wrapped for evaluation, saved and read again."""

from __future__ import annotations

import json
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

import clipnull as cn
from clipnull import model as models
from clipnull.model import folded_edits, sources, towers

transformers = pytest.importorskip("transformers")

NAMES = ["cat", "owl", "toy dog"]
D = 8
VISION = dict(
    hidden_size=24,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=32,
    patch_size=16,
)
TEXT = dict(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=16,
)


def features(output):
    """transformers 5 returns an object, 4 the tensor."""
    return getattr(output, "pooler_output", output)


def image_features(model, pixels):
    with torch.inference_mode():
        return features(model.get_image_features(pixel_values=pixels))


def text_features(model, tokens):
    with torch.inference_mode():
        return features(model.get_text_features(input_ids=tokens))


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    """CLIP's byte-pair tokenizer with three merges, and its image processor at 32 pixels."""
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    merges = [("c", "a"), ("ca", "t</w>"), ("o", "w")]
    words = [*letters, *(f"{x}</w>" for x in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    return transformers.CLIPProcessor(image_processor=images, tokenizer=tokenizer)


@pytest.fixture
def model(processor):
    """A tiny CLIPModel with random weights."""
    tokenizer = processor.tokenizer
    ids = {f"{x}_token_id": getattr(tokenizer, f"{x}_token_id") for x in ("bos", "eos", "pad")}
    text = dict(TEXT, vocab_size=len(tokenizer), **ids)
    torch.manual_seed(0)
    made = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=D)
    )
    for p in made.parameters():  # the usual initialisation makes names nearly identical
        torch.nn.init.normal_(p, std=0.3 if p.ndim > 1 else 0.1)
    return made.eval()


@pytest.fixture
def clip(model, processor):
    return models.from_transformers(model, processor, "tiny")


def pictures(n=4):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(n)]


def an_edit():
    T = torch.randn(4, D, generator=torch.Generator().manual_seed(1))
    return cn.consistent(T[:1], T[1:], lam=30, mu=3)  # not symmetric: W and W^T differ


PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def tokens(processor):
    return processor.tokenizer(NAMES, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]


# --- the model itself ----------------------------------------------------------------------


def test_folding_edits_the_features_of_each_side(model, tokens):
    Z, T, edit = image_features(model, PIXELS), text_features(model, tokens), an_edit()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with cn.folded(model, edit):
        torch.testing.assert_close(
            image_features(model, PIXELS), Z @ edit.matrix().to(Z), rtol=1e-4, atol=1e-5
        )
        assert torch.equal(text_features(model, tokens), T)
    with cn.folded(model, edit, "text"):
        torch.testing.assert_close(
            text_features(model, tokens), T @ edit.matrix().to(T).T, rtol=1e-4, atol=1e-5
        )
        assert torch.equal(image_features(model, PIXELS), Z)
    assert (Z - Z @ edit.matrix().to(Z)).abs().max() > 0.01  # there was something to change
    assert cn.fold(model, edit, "both") is model
    assert [side for side, _ in folded_edits(model)] == ["image", "text"]
    assert cn.unfold(model) is model and not folded_edits(model)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert [towers.slot(model, side).dim for side in ("image", "text")] == [D, D]


def test_its_own_logits_are_those_of_the_edited_embeddings(model, tokens):
    Z, T, edit = image_features(model, PIXELS), text_features(model, tokens), an_edit()
    cn.fold(model, edit)
    with torch.inference_mode():
        logits = model(input_ids=tokens, pixel_values=PIXELS).logits_per_image
    T = torch.nn.functional.normalize(T, dim=1)
    want = model.logit_scale.detach().exp() * edit.apply_image(Z, normalize=True) @ T.T
    torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4)


def test_save_pretrained_keeps_the_edit(model, tokens, tmp_path):
    Z, T, edit = image_features(model, PIXELS), text_features(model, tokens), an_edit()
    cn.fold(model, edit, "both")
    model.save_pretrained(tmp_path)
    again = transformers.CLIPModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(image_features(again, PIXELS), edit.apply_image(Z), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(text_features(again, tokens), edit.apply_text(T), rtol=1e-4, atol=1e-5)
    cn.unfold(model)
    assert torch.equal(image_features(model, PIXELS), Z)


def test_one_tower_with_its_projection(model):
    config = transformers.CLIPVisionConfig(**VISION, projection_dim=D)
    tower, edit = transformers.CLIPVisionModelWithProjection(config).eval(), an_edit()
    with torch.inference_mode():
        before = tower(pixel_values=PIXELS).image_embeds
        with cn.folded(tower, edit):
            torch.testing.assert_close(tower(pixel_values=PIXELS).image_embeds, edit.apply_image(before))
    with pytest.raises(ValueError, match="clip: no text tower with a final projection"):
        cn.fold(tower, edit, "text")


def test_siglip_is_refused_whole(processor):
    text = dict(TEXT, vocab_size=60, hidden_size=24)
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=VISION))
    state = {k: v.clone() for k, v in model.state_dict().items()}
    edit = cn.nullspace(torch.randn(1, 24, generator=torch.Generator().manual_seed(0)))
    for side in ("image", "text", "both"):
        with pytest.raises(ValueError, match=r"final projection .* in SiglipModel; want one of open_clip's"):
            cn.fold(model, edit, side)
    with pytest.raises(ValueError, match="model: got a SiglipModel, want a transformers CLIPModel"):
        models.from_transformers(model, processor)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


# --- the wrapper ---------------------------------------------------------------------------


def test_embeddings_are_the_models_own(clip, model, processor):
    inputs = processor(text=[f"a {n}" for n in NAMES], images=pictures(), padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits_per_image
    Z, T = clip.embed_images(pictures()), clip.embed_text(NAMES, "a {}")
    assert Z.shape == (4, D) and T.shape == (3, D) and Z.dtype == T.dtype == torch.float32
    torch.testing.assert_close(clip.logit_scale * Z @ T.T, logits, rtol=1e-4, atol=1e-4)
    assert (T - T[0]).abs().max() > 0.01  # names differ
    assert (clip.dim, clip.image_size, clip.precision) == (D, 32, "fp32") and "Clip(tiny: 8 dim" in repr(clip)
    torch.testing.assert_close(clip.embed_images(pictures(), batch_size=1), Z)
    torch.testing.assert_close(clip.embed_text(NAMES, "a {}", batch_size=1), T)
    shown = clip.model.encode_image(clip.preprocess(pictures()[0])[None], normalize=True)
    torch.testing.assert_close(shown.detach(), Z[:1])


def test_pictures_can_be_made_from_its_names(clip, processor):
    made = clip.embed_text(["cat"])
    pixels = processor.image_processor
    assert clip.model.visual.preprocess_cfg == {
        "mean": list(pixels.image_mean),
        "std": list(pixels.image_std),
    }
    found = cn.auditing.optimise_pixels(clip, made, steps=5)
    cosines = [float(clip.embed_images(step) @ made[0]) for step in found.film]
    assert found.images[0].size == (32, 32) and cosines[-1] > cosines[0]


def test_without_normalisation_pixels_are_as_they_are(model, processor):
    images = transformers.CLIPImageProcessor(do_normalize=False, size={"shortest_edge": 32}, crop_size=32)
    plain = transformers.CLIPProcessor(image_processor=images, tokenizer=processor.tokenizer)
    clip = models.from_transformers(model, plain)
    assert clip.model.visual.preprocess_cfg == {"mean": [0.0] * 3, "std": [1.0] * 3}


def test_long_names_are_cut(clip):
    assert clip.embed_text("cat " * 50).shape == (1, D)


def test_evaluating_an_edit_and_folding_it_agree(clip, model):
    Z, T, labels = clip.embed_images(pictures()), clip.embed_text(NAMES), [0, 1, 2, 0]
    edit = cn.consistent(T[:1], T[1:])
    report = cn.Case(Z, T, labels, ["cat"], NAMES).evaluate(edit)
    cn.fold(clip, edit)
    assert folded_edits(model)  # the layers are shared
    after = clip.embed_images(pictures())
    torch.testing.assert_close(after, edit.apply_image(Z, normalize=True), rtol=1e-4, atol=1e-5)
    assert (after @ T.T).argmax(1).tolist() == report.predicted_after.tolist()


def test_a_saved_clip_is_a_transformers_folder(clip, tmp_path):
    Z, T = clip.embed_images(pictures()), clip.embed_text(NAMES)
    case = cn.Case(Z, T, [0, 1, 2, 0], ["cat"], NAMES)
    edit = cn.nullspace(case.T_f)
    cn.fold(clip, edit)
    after, tolerance = clip.embed_images(pictures()), 1e-5
    folder = clip.save(tmp_path / "unlearned", case.evaluate(edit))
    plain = transformers.CLIPModel.from_pretrained(folder).eval()
    pixels = transformers.AutoProcessor.from_pretrained(folder)(images=pictures(), return_tensors="pt")
    z = torch.nn.functional.normalize(image_features(plain, pixels["pixel_values"]), dim=1)
    torch.testing.assert_close(z, after, rtol=0, atol=tolerance)
    again = cn.load(f"local-dir:{folder}", device="cpu")
    assert again.receipt["classes"] == ["cat"] and again.receipt["edits"][0]["method"] == "nullspace"
    torch.testing.assert_close(again.embed_images(pictures()), after, rtol=0, atol=tolerance)
    torch.testing.assert_close(again.embed_text(NAMES), T, rtol=0, atol=tolerance)
    torch.testing.assert_close(cn.unfold(clip).embed_images(pictures()), Z)
    later = cn.load(f"local-dir:{again.save(tmp_path / 'later')}", device="cpu")
    torch.testing.assert_close(later.embed_images(pictures()), after, rtol=0, atol=tolerance)


def test_a_pipeline_has_forgotten(clip, tmp_path):
    edit = cn.nullspace(clip.embed_text(NAMES)[:1])
    folder = cn.fold(clip, edit).save(tmp_path / "unlearned")
    pipe = transformers.pipeline("zero-shot-image-classification", model=str(folder), device="cpu")
    said = pipe(pictures(1)[0], candidate_labels=NAMES, hypothesis_template="{}")
    logits = clip.logit_scale * clip.embed_images(pictures(1)) @ clip.embed_text(NAMES).T
    want = dict(zip(NAMES, logits.softmax(1)[0].tolist(), strict=True))
    assert {x["label"]: x["score"] for x in said} == pytest.approx(want, abs=1e-4)


def test_the_best_of_a_training_comes_back_whole(model):
    """As `Trainer(load_best_model_at_end=True)` loads it: not strictly."""
    cn.fold(model, an_edit())
    want, best = image_features(model, PIXELS), {k: x.clone() for k, x in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    image_features_sum(model).backward()
    optimiser.step()
    assert (image_features(model, PIXELS) - want).abs().max() > 0.01
    found = model.load_state_dict(best, strict=False)
    assert not found.missing_keys and not found.unexpected_keys
    assert torch.equal(image_features(model, PIXELS), want)


def image_features_sum(model):
    return features(model.get_image_features(pixel_values=PIXELS)).square().sum()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision(clip, processor, tmp_path, precision):
    half = cn.load(f"local-dir:{clip.save(tmp_path / 'model')}", device="cpu", precision=precision)
    Z = half.embed_images(pictures())
    assert Z.dtype == torch.float32 and next(half.model.parameters()).dtype != torch.float32
    torch.testing.assert_close(Z, clip.embed_images(pictures()), rtol=0, atol=0.05)
    assert models.from_transformers(half.model.source, processor).precision == f"pure_{precision}"


def test_from_the_hub_s_cache_folder(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_reach", lambda repository, fetch: 1 / 0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    saved = tmp_path / "models--someone--model"
    (saved / "refs").mkdir(parents=True)
    (saved / "refs" / "main").write_text("0" * 40)
    folder = clip.save(saved / "snapshots" / ("0" * 40))
    again = cn.load("hf-hub:someone/model", device="cpu")
    torch.testing.assert_close(again.embed_images(pictures()), clip.embed_images(pictures()))
    (folder / "preprocessor_config.json").unlink()  # as CLIPModel.from_pretrained alone leaves it
    with pytest.raises(ValueError, match=r"could not be fetched \(division by zero\)"):
        cn.load("hf-hub:someone/model", device="cpu")


# --- whose text it reads ------------------------------------------------------------------


def test_padding_changes_no_embedding(model, processor):
    """On whichever side a tokenizer would put it, and however much of it there is."""
    with torch.inference_mode():
        alone = [
            text_features(model, processor.tokenizer([n], return_tensors="pt")["input_ids"])[0] for n in NAMES
        ]
    want = torch.nn.functional.normalize(torch.stack(alone), dim=1)
    for side in ("left", "right"):
        processor.tokenizer.padding_side = side
        T = models.from_transformers(model, processor).embed_text(NAMES)
        torch.testing.assert_close(T, want, rtol=1e-4, atol=1e-5)
    processor.tokenizer.padding_side = "right"


def test_another_model_s_tokenizer_is_refused(model, processor):
    longer = transformers.CLIPTokenizer.from_pretrained(processor.tokenizer.name_or_path)
    longer.add_tokens(["a word of its own"])
    other = types.SimpleNamespace(image_processor=processor.image_processor, tokenizer=longer)
    with pytest.raises(
        ValueError, match=r"^processor: its tokenizer has 58 words, want the model's own, of 57"
    ):
        models.from_transformers(model, other)


def chinese():
    text = dict(TEXT, vocab_size=60, hidden_size=16, num_hidden_layers=1)
    del text["max_position_embeddings"]
    config = transformers.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=D)
    return transformers.ChineseCLIPModel(config)


def alt():
    text = dict(TEXT, vocab_size=60, project_dim=16)
    config = transformers.AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=D)
    return transformers.AltCLIPModel(config)


@pytest.mark.parametrize(("make", "kind"), [(chinese, "ChineseCLIP"), (alt, "AltCLIP")])
def test_other_clips_of_transformers_are_refused_by_name(make, kind, processor):
    with pytest.raises(ValueError, match=f"^model: got a {kind}Model, want a transformers CLIPModel"):
        models.from_transformers(make(), processor)


def test_what_compiling_wraps_is_taken(model, processor, clip):
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(
        models.from_transformers(compiled, processor).embed_text(NAMES), clip.embed_text(NAMES)
    )


def test_saving_passes_on_the_processor_alone(clip, tmp_path):
    clip.preprocess = lambda picture: torch.zeros(3, 32, 32)
    with pytest.raises(ValueError, match="save: preprocess or tokenizer is not the processor's"):
        clip.save(tmp_path / "saved")
    assert not [*tmp_path.iterdir()]


# --- bad input -----------------------------------------------------------------------------


def test_what_is_no_clip_model(model, processor):
    with pytest.raises(ValueError, match="model: got a Linear, want a transformers CLIPModel"):
        models.from_transformers(torch.nn.Linear(2, 2), processor)
    with pytest.raises(ValueError, match=r"processor: got .*Tokenizer.*, want what has image_processor"):
        models.from_transformers(model, processor.tokenizer)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_folders_that_are_not_whole(clip, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    folder = clip.save(tmp_path / "model")
    with (
        monkeypatch.context() as without,
        pytest.raises(ValueError, match=r"want pip install 'clipnull\[hf\]'"),
    ):
        without.setitem(sys.modules, "transformers", None)
        cn.load(f"local-dir:{folder}")
    (folder / "receipt.json").unlink()
    weights = folder / "model.safetensors"
    state = load_file(weights)
    whole = weights.read_bytes()
    projection = state.pop("visual_projection.weight")
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"does not fit its config.*it has no visual_projection\.weight"):
        cn.load(f"local-dir:{folder}")  # transformers would make one up
    save_file(
        {**state, "visual_projection.weight": projection[:4].clone()}, weights, metadata={"format": "pt"}
    )
    with pytest.raises(ValueError, match="does not fit its config"):
        cn.load(f"local-dir:{folder}")
    weights.write_bytes(whole)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="lacks a part of its processor"):
        cn.load(f"local-dir:{folder}")
    weights.unlink()
    with pytest.raises(ValueError, match=r"no weights in .*beside config\.json"):
        cn.load(f"local-dir:{folder}")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="unpickling"):
        cn.load(f"local-dir:{folder}")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        ValueError, match=r"no open_clip_config\.json in .* or one of a transformers CLIPModel"
    ):
        cn.load(f"local-dir:{folder}")
