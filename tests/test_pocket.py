"""PocketCLIP: its class table, that plain open_clip loads it, how good it is, and its recipe."""

import json

import open_clip
import pytest
import torch
from PIL import Image

import clipnull as cn
from tools.pocket import measure, recipe

FOLDER = measure.CARD.parent


@pytest.fixture(scope="module")
def loaded():
    """Model, transform and tokenizer by plain open_clip, without clipnull."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{FOLDER}")
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{FOLDER}")


@pytest.fixture(scope="module")
def embedded(loaded):
    """Clean Twemoji of all the classes, embedded by plain open_clip: Z [853, d], T [853, d], data."""
    model, preprocess, tokenizer = loaded
    data = cn.datasets.load("twemoji", subset="all", scenes="clean")
    with torch.inference_mode():
        images = torch.stack([preprocess(image) for image in data.images])
        Z = torch.cat([model.encode_image(x, normalize=True) for x in images.split(128)])
        T = open_clip.build_zero_shot_classifier(
            model, tokenizer, data.classes, [t.format for t in data.templates], 64
        ).T
    return Z, T, data


# --- what ships ----------------------------------------------------------------------------


def test_class_table():
    table = cn.datasets.class_table()
    labels, codes = [c["label"] for c in table], [c["code"] for c in table]
    assert 800 <= len(table) <= 900
    assert len(set(labels)) == len(set(codes)) == len(table)
    assert set(recipe.GROUPS.values()) == {c["category"] for c in table}
    for c in table:
        assert list(c) == ["code", "label", "category", "subcategory", "keywords", "version"]
        assert c["label"] == recipe.clean_label(c["label"]) and "fe0f" not in c["code"]


def test_it_is_small():
    weights = FOLDER / "open_clip_model.safetensors"
    assert weights.stat().st_size < 20e6


def test_plain_open_clip_loads_it(loaded):
    model, preprocess, tokenizer = loaded
    tokens = tokenizer(["a tiger", "a wolf"])
    assert tuple(tokens.shape) == (2, 24)
    with torch.inference_mode():
        z = model.encode_image(preprocess(Image.new("RGB", (100, 80)))[None])
        t = model.encode_text(tokens)
    assert z.shape == (1, 256) and t.shape == (2, 256) and torch.isfinite(z).all()
    assert model.logit_scale.exp().item() == pytest.approx(100, rel=1e-3)


def test_only_the_training_texts_tokens_have_rows(loaded):
    table = loaded[0].token_embedding.weight
    assert 2000 < int((table != 0).any(1).sum()) < 4096


def test_accuracy_on_an_artist_it_never_saw(embedded):
    Z, T, data = embedded
    result = measure.accuracy(Z, T, data.labels)
    assert result["top1"] >= 0.65 and result["top5"] >= 0.85


def test_classroom_has_a_clips_geometry(embedded):
    Z, T, _ = embedded
    room = cn.datasets.classroom()
    g = measure.geometry(Z[room], T[room], torch.arange(len(room)))
    assert 0.4 < g["text_text"] < 0.85  # the cone
    assert g["matched"] > g["unmatched"] + 0.1
    assert g["unmatched"] < g["text_text"]  # the modality gap: names are nearer to names than to images


# --- the measurements ----------------------------------------------------------------------


def test_accuracy_and_geometry_by_hand():
    Z, T = torch.eye(4)[:3], torch.eye(4)
    T[3] = torch.tensor([0.6, 0.8, 0, 0])
    assert measure.accuracy(Z, T, torch.tensor([0, 1, 3])) == {"top1": pytest.approx(2 / 3), "top5": 1.0}
    g = measure.geometry(Z, T, torch.tensor([0, 1, 3]))
    assert g["text_text"] == pytest.approx(2 * 1.4 / 12)
    assert g["matched"] == pytest.approx(2 / 3)
    assert g["unmatched"] == pytest.approx((0.6 + 0.8 + 1) / 9)


def test_writing_fills_the_marked_block(tmp_path):
    pair = {"top1": 0.5, "top5": 0.75}
    part = {"classes": 3, "clean": pair, "scenes": pair}
    geometry = dict.fromkeys(
        ["text_text", "norm_of_mean_text", "norm_of_mean_image", "matched", "unmatched"], 0.25
    )
    result = dict(
        parameters=9, without_token_table=5, token_rows_used=2, all={**part, "no_margin": pair}, classroom=part,
        categories={"objects": part}, geometry_all=geometry, geometry_classroom=geometry,
        one_at_a_time={"nullspace": dict(a=0.7, b=0.0, c=0.7, d=0.6, e=0.857)},
    )  # fmt: skip
    path = tmp_path / "README.md"
    path.write_text(f"before\n{measure.START}\nold\n{measure.END}\nafter\n")
    measure.write(result, path)
    measure.write(result, path)  # twice: still one block
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| objects | 3 | 50.0 | 75.0 | 50.0 | 75.0 |" in text
    assert "| nullspace | 70.0 | 0.0 | 70.0 | 60.0 | 85.7 |" in text and text.count(measure.START) == 1
    path.write_text("no block")
    with pytest.raises(ValueError, match="has no block"):
        measure.write(result, path)


def test_the_model_card_is_measured():
    assert "Not yet measured" not in measure.CARD.read_text()


# --- the recipe ----------------------------------------------------------------------------


def test_the_recipe_pins_its_artwork():
    assert set(recipe.VERSIONS) == {*(f"@iconify-json/{style}" for style in recipe.STYLES), "emojibase-data"}


def emoji(order, code, label, subgroup, group, tags):
    return dict(order=order, hexcode=code, label=label, group=group, subgroup=subgroup, tags=tags, version=1)


@pytest.fixture
def packs(tmp_path):
    """Unpacked npm packages with three drawings each, as the recipe would fetch them."""
    work = tmp_path / "work"
    table = [
        emoji(1, "1F405", "tiger", 0, 3, ["animal"]),
        emoji(2, "1F43A", "wolf", 0, 3, ["face"]),
        emoji(3, "1F355", "pizza", 1, 4, ["cheese", "slice"]),
        emoji(4, "1F355-FE0F", "pizza", 1, 4, []),  # a label already taken
        emoji(5, "1F600", "grinning face", 0, 0, []),  # not among the groups
    ]
    names = work / "packs" / "emojibase-data" / "package" / "en"
    names.mkdir(parents=True)
    (names / "data.json").write_text(json.dumps(table))
    subgroups = [dict(order=0, key="animal-mammal"), dict(order=1, key="food-prepared")]
    (names / "messages.json").write_text(json.dumps(dict(subgroups=subgroups)))
    for i, style in enumerate(recipe.STYLES):
        package = work / "packs" / style / "package"
        package.mkdir(parents=True)
        icons = {
            name: {"body": f'<circle cx="8" cy="8" r="{3 + i % 4}" fill="{fill}"/>'}
            for name, fill in [("tiger", "orange"), ("wolf", "grey"), ("pizza", "red")]
        }
        (package / "icons.json").write_text(json.dumps(dict(icons=icons, width=16, height=16)))
        chars = {"1f405": "tiger", "1f43a": "wolf", "1f355": "pizza"}
        if i:  # one artist without a table of code points: found by name
            (package / "chars.json").write_text(json.dumps(chars))
    return work


def test_quick_mode_ends_in_a_folder_that_open_clip_loads(packs, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the packages are there: nothing is to be fetched")

    monkeypatch.setattr(recipe.subprocess, "run", no_network)
    recipe.main(["--work", str(packs), "--quick"])
    out = packs / "model"
    classes = json.loads((out / "classes.json").read_text())
    assert [c["label"] for c in classes] == ["tiger", "wolf", "pizza"]
    assert [c["category"] for c in classes] == ["animals-nature", "animals-nature", "food-drink"]
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{out}")
    with torch.inference_mode():
        t = model.eval().encode_text(tokenizer(["an emoji of a tiger."]))
        z = model.encode_image(preprocess(Image.new("RGB", (64, 64)))[None])
    assert torch.isfinite(t).all() and torch.isfinite(z).all()
    used = (model.token_embedding.weight != 0).any(1)
    assert not bool(used[tokenizer.encode("zebra")[0]]) and bool(used[tokenizer.encode("tiger")[0]])


def test_the_short_text_forward_is_open_clips(packs):
    """Training cuts sequences to the longest of the batch; the features must not depend on it."""
    classes, _ = recipe.build(packs / "packs")
    captions = recipe.Captions(classes, recipe.np.random.default_rng(0))
    model = recipe.new_model(len(captions.vocabulary)).eval()
    texts = ["a tiger.", "an emoji of a pizza."]
    full = torch.searchsorted(captions.vocabulary, captions.tokenizer(texts))
    with torch.inference_mode():
        expected = model.encode_text(full, normalize=True)
        got = recipe.encode_text(model, captions.tokens(texts))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_quick_recipe_is_seeded(packs):
    classes, sprites = recipe.build(packs / "packs")
    one, two = (recipe.train(classes, sprites, steps=1, seed=3)[0].state_dict() for _ in range(2))
    for name in one:
        torch.testing.assert_close(one[name], two[name])
