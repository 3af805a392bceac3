"""PocketCLIP: its class table, that plain open_clip loads it, how good it is, and its recipe."""

import json
import math
import shutil
import signal
import subprocess
import sys

import open_clip
import pytest
import torch
from PIL import Image

import clipnull as cn
from tools.pocket import art, measure, recipe, train
from tools.pocket.captions import Vocabulary
from tools.pocket.scenes import Sprites

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
    data = cn.datasets.load("twemoji", subset="all", scenes=1)
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
    assert set(art.GROUPS.values()) == {c["category"] for c in table}
    for c in table:
        assert list(c) == ["code", "label", "category", "subcategory", "keywords", "version", "kinds"]
        assert c["label"] == art.clean_label(c["label"]) and "fe0f" not in c["code"]


def test_it_is_small():
    weights = FOLDER / "open_clip_model.safetensors"
    assert weights.stat().st_size < 36e6


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
    assert result["top1"] >= 0.69 and result["top5"] >= 0.88
    room = torch.tensor(cn.datasets.classroom())
    own = torch.isin(data.labels, room)
    hits = (Z[own] @ T[room].T).argmax(1) == (data.labels[own][:, None] == room).int().argmax(1)
    assert hits.double().mean() >= 0.9


def test_classroom_has_a_clips_geometry(embedded):
    Z, T, _ = embedded
    room = cn.datasets.classroom()
    g = measure.geometry(Z[room], T[room], torch.arange(len(room)))
    assert 0.65 < g["text_text"] < 0.83  # the cone
    assert g["matched"] > g["unmatched"] + 0.1
    assert g["unmatched"] < g["text_text"]  # the modality gap: names are nearer to names than to images


def test_its_names_fill_a_space_as_wide_as_a_clips(embedded, pocket):
    _, T, data = embedded
    names, room = (measure.width(rows) for rows in (T, T[cn.datasets.classroom()]))
    assert names["participation_ratio"] > 48 and room["participation_ratio"] > 31
    assert names["components_50"] >= 18 and names["components_90"] >= 48
    assert 0.95 < measure.two_prompts(pocket, data.classes, data.templates) < 0.995
    subcategories = [c["subcategory"] for c in cn.datasets.class_table()]
    assert measure.nearest_of_a_kind(T, subcategories) > 0.47


def test_the_classrooms_scenes_show_what_real_clips_show(pocket):
    """What the lessons rest on: accuracy, the hero, and what each method does to ten names at once."""
    data = cn.datasets.load(size=pocket.image_size)
    Z, T = pocket.embed_images(data.images), pocket.embed_text(data.classes, templates=data.templates)
    (trial,) = cn.trials(cn.Case(Z, T, data.labels, ["bus"], data.classes), 10, draws=1)
    case = trial.test
    right = (Z @ T.T).argmax(1) == data.labels
    assert right.double().mean() > 0.84 and right[data.where("bus")].all()
    assert cn.datasets.embeddings("coco").classes.count("bus") == 1
    found = {
        name: case.evaluate(cn.METHODS[name].make(case.T_f, case.T_r)) for name in ("ccup", "mean", "hull")
    }
    assert max(report.forget_after for report in found.values()) < 0.02
    assert min(report.retained for report in found.values()) > 0.97
    two, search = ({name: getattr(r, key) for name, r in found.items()} for key in ("n_way", "search"))
    assert two["ccup"][2].after < 0.3 and search["ccup"].after > 0.9  # silent in lists, found by a search
    assert 0.4 < two["mean"][2].after < 0.65 < 0.75 < two["hull"][2].after  # neutral; its relatives
    for name in ("mean", "hull"):
        assert cn.certificate(found[name].edit, case.T_f, case.T_r).max() < 1e-6


# --- the measurements ----------------------------------------------------------------------


def test_accuracy_and_geometry_by_hand():
    Z, T = torch.eye(4)[:3], torch.eye(4)
    T[3] = torch.tensor([0.6, 0.8, 0, 0])
    assert measure.accuracy(Z, T, torch.tensor([0, 1, 3])) == {"top1": pytest.approx(2 / 3), "top5": 1.0}
    g = measure.geometry(Z, T, torch.tensor([0, 1, 3]))
    assert g["text_text"] == pytest.approx(2 * 1.4 / 12)
    assert g["matched"] == pytest.approx(2 / 3)
    assert g["unmatched"] == pytest.approx((0.6 + 0.8 + 1) / 9)


def test_width_by_hand():
    X = torch.cat([torch.eye(3), -torch.eye(3)]) * torch.tensor([2.0, 1.0, 1.0]) + torch.tensor([5.0, 0, 0])
    w = measure.width(X)  # centred, the variances are as 4 : 1 : 1
    assert w["participation_ratio"] == pytest.approx(36 / 18)
    assert [w[f"components_{k}"] for k in (50, 90, 99)] == [1, 3, 3]
    assert float(train.participation_ratio(X)) == pytest.approx(2)
    assert float(train.participation_ratio(X[:2])) == pytest.approx(1)  # fewer rows than dimensions
    wide = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    assert float(train.participation_ratio(wide)) == pytest.approx(measure.width(wide)["participation_ratio"])


def test_nearest_of_a_kind_by_hand():
    T = torch.nn.functional.normalize(torch.tensor([[1, 0.1], [1, 0.0], [0.1, 1], [0.5, 0.6]]), dim=1)
    assert measure.nearest_of_a_kind(T, ["a", "a", "b", "a"]) == 0.5  # 0 and 1; 2 and 3 find each other


def test_two_prompts_are_compared_name_by_name():
    class Clip:
        def embed_text(self, names, templates):
            return torch.tensor(
                [{"{}": [1.0, 0], "a {}": [0.6, 0.8], "the {}": [0, 1.0]}[templates[0]]] * len(names)
            )

    assert measure.two_prompts(Clip(), ["x", "y"], ["{}", "a {}"]) == pytest.approx(0.6)
    assert measure.two_prompts(Clip(), ["x"], ["{}", "a {}", "the {}"]) == pytest.approx((0.6 + 0.8 + 0) / 3)


def test_real_clips_are_measured_by_the_same_functions():
    real = measure.real_shapes()
    coco, lvis = real["COCO, ViT-B/16"], real["LVIS, ViT-B/32"]
    assert 34 < coco["participation_ratio"] < 38 and 105 < lvis["participation_ratio"] < 109
    assert 0.05 < coco["matched"] - coco["unmatched"] < 0.15
    assert "matched" not in lvis and 0.7 < lvis["text_text"] < 0.85


@pytest.fixture(scope="module")
def wide():
    """24 names in a cone, and two pictures of each near its own."""
    names = torch.nn.functional.normalize(torch.eye(24) + 0.3, dim=1)
    return cn.Case(names.repeat(2, 1), names, [*range(24)] * 2, [0])


def test_names_are_forgotten_alone(wide):
    found = measure.one_at_a_time(wide)
    assert list(found) == [*cn.METHODS, "candidate masking"]
    before = {name: values["before"] for name, values in found.items()}
    assert set(before.values()) == {1.0} and found["random"]["full"] > 0.5
    mean, masked = found["mean"], found["candidate masking"]
    assert (mean["full"], mean["listed"]) == (0, 1) and mean["certificate"] == pytest.approx(0, abs=1e-9)
    assert found["random"]["certificate"] > 0.3
    assert math.isnan(mean["unlisted"]) and math.isnan(masked["search"]) and masked["two_way"] == 0


def test_ten_names_are_forgotten_where_few_of_the_others_are_listed(wide, monkeypatch):
    seen = []
    monkeypatch.setattr(measure, "forgetting", lambda cases, seed: seen.extend(cases))
    measure.ten_at_once(wide, seed=3)
    assert [len(case.forget) for case in seen] == [10] * 5 and {len(case.listed) for case in seen} == {4}
    assert len({(*case.forget,) for case in seen}) > 1
    monkeypatch.undo()
    found = measure.ten_at_once(wide, seed=3)
    assert found["mean"]["full"] == 0 and found["mean"]["listed"] == 1
    assert all(values["unlisted"] == values["unlisted"] for values in found.values())


def test_a_name_that_is_projected_out_can_win():
    """Its score is 0, which beats kept names that are below: no tie is broken in its favour."""
    T = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, 0.55]]), dim=1)
    Z = torch.nn.functional.normalize(torch.tensor([[1.0, -0.5], [1.0, 0.5]]), dim=1)
    case = cn.Case(Z, T, [0, 1], [0])
    assert case.evaluate(cn.nullspace(case.T_f)).forget_after == 1.0


def test_writing_fills_the_marked_block(tmp_path):
    pair = {"top1": 0.5, "top5": 0.75}
    part = {"classes": 3, "clean": pair, "scenes": pair}
    columns = (
        "text_text norm_of_mean_text norm_of_mean_image matched unmatched two_prompts nearest_of_a_kind "
    )
    columns += "participation_ratio participation_ratio_images components_50 components_90 components_99"
    geometry = dict.fromkeys(columns.split(), 0.25) | {"participation_ratio": 51.96, "components_90": 53.0}
    values = dict(before=0.7, full=0.0, two_way=0.5, ten_way=0.1, search=math.nan, listed=1.0)
    values |= dict(unlisted=math.nan, certificate=math.nan)
    result = dict(
        parameters=9, without_token_table=5, token_rows_used=2, all=part, classroom=part,
        categories={"objects": part}, geometry_all=geometry, geometry_classroom=geometry,
        real={"LVIS": {"text_text": 0.8, "participation_ratio": 107.0}},
        one_at_a_time={
            "nullspace": values | dict(full=0.07, search=0.6, certificate=0.104),
            "candidate masking": values | dict(two_way=0.0),
        },
        ten_at_once={"hull": values | dict(unlisted=0.857)},
    )  # fmt: skip
    path = tmp_path / "README.md"
    path.write_text(f"before\n{measure.START}\nold\n{measure.END}\nafter\n")
    measure.write(result, path)
    measure.write(result, path)  # twice: still one block
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| objects | 3 | 50.0 | 75.0 | 50.0 | 75.0 |" in text
    assert "| participation ratio of the names | 52.0 | 52.0 | 107.0 |" in text
    assert (
        "| … 90% | 53 | 53 | – |" in text
        and "| mean cosine between different names | 0.25 | 0.25 | 0.80 |" in text
    )
    assert "| nullspace | 70.0 | 7.0 | 50.0 | 10.0 | 60.0 | 100.0 | 0.10 |\n" in text
    assert "| candidate masking | 70.0 | 0.0 | 0.0 | 10.0 | – | 100.0 | – |\n" in text
    assert "it wins: on 7.0% of its own." in text
    assert "| method | full, before | full | 2-way | 10-way | kept | kept, not listed |\n" in text
    assert "| hull | 70.0 | 0.0 | 50.0 | 10.0 | 100.0 | 85.7 |\n" in text and text.count(measure.START) == 1
    path.write_text("no block")
    with pytest.raises(ValueError, match="has no block"):
        measure.write(result, path)


def test_the_model_card_is_measured():
    assert "Not yet measured" not in measure.CARD.read_text()


# --- the recipe ----------------------------------------------------------------------------


def test_the_recipe_pins_its_artwork():
    assert set(art.VERSIONS) == {*(f"@iconify-json/{style}" for style in art.STYLES), "emojibase-data"}


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
    for i, style in enumerate(art.STYLES):
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


@pytest.fixture
def no_network(monkeypatch):
    def fetch(*args, **kwargs):
        raise AssertionError("the packages are there: nothing is to be fetched")

    monkeypatch.setattr(art.subprocess, "run", fetch)


def test_quick_mode_ends_in_a_measured_folder_that_open_clip_loads(packs, no_network, capsys):
    recipe.main(["--work", str(packs), "--quick"])
    out = packs / "quick"
    classes = json.loads((out / "classes.json").read_text())
    assert [c["label"] for c in classes] == ["tiger", "wolf", "pizza"]
    assert [c["category"] for c in classes] == ["animals-nature", "animals-nature", "food-drink"]
    assert classes[0]["kinds"][0] == "big cat"  # from the table that ships
    printed = capsys.readouterr().out
    result = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    assert result["all"]["classes"] == 3 and result["geometry_all"]["participation_ratio"] > 0
    assert (out / "open_clip_model.safetensors").stat().st_size < 36e6
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{out}")
    with torch.inference_mode():
        t = model.eval().encode_text(tokenizer(["an emoji of a tiger."]))
        z = model.encode_image(preprocess(Image.new("RGB", (64, 64)))[None])
    assert torch.isfinite(t).all() and torch.isfinite(z).all()
    used = (model.token_embedding.weight != 0).any(1)
    assert not bool(used[tokenizer.encode("zebra")[0]]) and bool(used[tokenizer.encode("tiger")[0]])


def test_prepared_art_is_not_drawn_again(packs, no_network, monkeypatch):
    first, drawn = recipe.prepare(packs)
    shutil.rmtree(packs / "packs")
    monkeypatch.setattr(art, "rasterise", lambda svg: pytest.fail("drawn again"))
    again, stored = recipe.prepare(packs)
    assert first == again and torch.equal(drawn.rgba, stored.rgba) and drawn.row == stored.row


TINY = dict(batch=3, embed=16, vision_width=8, text_width=16, text_layers=1)


def test_the_short_text_forward_is_open_clips(packs):
    """Training cuts sequences to the longest of the batch; the features must not depend on it."""
    vocabulary = Vocabulary(art.build(packs / "packs")[0])
    model = train.new_model(train.Settings(**TINY), len(vocabulary.rows)).eval()
    texts = ["a tiger.", "an emoji of a pizza."]
    full = torch.searchsorted(vocabulary.rows, vocabulary.tokenizer(texts))
    with torch.inference_mode():
        expected = model.encode_text(full, normalize=True)
        got = train.encode_text(model, vocabulary(texts))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def run_of(packs, **settings):
    classes, sprites = art.build(packs / "packs")
    return train.Run(classes, Sprites(sprites), train.Settings(**{**TINY, **settings}))


def test_a_run_is_seeded(packs):
    weights = []
    for seed in (3, 3, 4):
        run = run_of(packs, steps=1, seed=seed)
        run.advance()
        weights.append(run.model.text_projection.detach())
    torch.testing.assert_close(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2])


def test_the_width_term_is_what_the_docstring_says(packs):
    narrow, wide = run_of(packs, steps=9, weight=0.0), run_of(packs, steps=9, weight=1.0)
    (plain, seen), (more, same) = narrow._loss(), wide._loss()
    assert seen == same  # the contrastive loss is shown without the term
    expected = sum(torch.tensor(60 / seen[k]).log().clamp_min(0) for k in ("PR_images", "PR_names"))
    assert (more - plain).item() == pytest.approx(float(expected), rel=1e-4)


def test_minutes_become_steps_once(packs, monkeypatch, tmp_path):
    run = run_of(packs, minutes=1.0)
    ticks = iter(range(0, 10**6, 2))
    monkeypatch.setattr(train, "TIMED", 4)
    monkeypatch.setattr(train, "UNTIMED", 1)
    monkeypatch.setattr(train.time, "perf_counter", lambda: next(ticks))  # two seconds per step

    def advance():
        run.step += 1
        return {}

    monkeypatch.setattr(run, "advance", advance)
    run.train(tmp_path, save_every=1e9)
    assert run.step == run.steps == 30


#: dies in the middle of its third save, between writing and renaming
KILLED = """
import os, signal, sys
from tools.pocket import recipe, train
replace, saves = os.replace, []
def rename(source, target):
    saves.append(target) if str(target).endswith("state.pt") else None
    os.kill(os.getpid(), signal.SIGKILL) if len(saves) == 3 else replace(source, target)
os.replace = rename
train.has_bfloat16 = lambda device: False
recipe.main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_to_the_same_end(packs, monkeypatch, capsys):
    monkeypatch.setattr(train, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(recipe.measure, "measure", lambda *args, **kwargs: {})
    options = "--steps 5 --save-every 0 --threads 1".split()
    for name, value in TINY.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    whole = packs.with_name("whole")
    shutil.copytree(packs, whole)
    threads = torch.get_num_threads()
    try:
        recipe.main(["--work", str(whole), *options])
        command = [sys.executable, "-c", KILLED, "--work", str(packs), *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent.parent)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert torch.load(packs / "state.pt", weights_only=True)["step"] == 2
        with pytest.raises(ValueError, match="began with another lr;"):
            recipe.main(["--work", str(packs), *options, "--lr", "0.5"])
        recipe.main(["--work", str(packs), *options])
    finally:
        torch.set_num_threads(threads)
    assert "goes on from step 2 of 5" in capsys.readouterr().out
    ends = [torch.load(work / "state.pt", weights_only=True) for work in (packs, whole)]
    for name in ("model", "average", "optimiser"):
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=1e-5, atol=1e-6)
    assert ends[0]["step"] == ends[1]["step"] == 5
