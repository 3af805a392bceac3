"""The protocol: its data, its one code path on made-up copies of the data sets, and what it reports."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

import clipnull as cn
from clipnull import cli, plots, protocol
from clipnull.protocol import run as running
from clipnull.protocol.published import COCO, KRAVETS, POCKET, ProtocolData, ProtocolModel
from clipnull.protocol.result import score_parts
from clipnull.protocol.run import run_protocol

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
#: folder and split file of CoOp's layout, where pictures lie, classes beside the protocol's own
COOP = {
    "StanfordDogs": ("stanford_dogs/split_zhou_StanfordDogs.json", "Images", ["Chihuahua", "beagle"]),
    "StanfordCars": ("stanford_cars/split_zhou_StanfordCars.json", "", ["2012 Audi TT RS Coupe"]),
    "Caltech101": ("caltech-101/split_zhou_Caltech101.json", "101_ObjectCategories", ["face", "leopard"]),
    "OxfordFlowers": ("oxford_flowers/split_zhou_OxfordFlowers.json", "jpg", ["rose", "fire lily"]),
}


METHODS = [*cn.METHODS, "candidate masking"]
#: in place of `clipnull.protocol.GRIDS`: what is learnt does not matter here
SHORT = {"gradient": {"weight": (10.0, 30.0), "steps": (4,)}, "lora": {"rank": (2, 4, 8), "steps": (4,)}}


def part(given, models=None, data=None, root=None):
    """A protocol with some of its models and data sets, in another folder."""
    models = [m for m in given.models if m.label in (models or [m.label])]
    data = [d for d in given.data if d.name in (data or [d.name])]
    return replace(given, models=tuple(models), data=tuple(data), root=root and str(root))


def small(**changes):
    """The miniature with eight classes a category and two scenes."""
    near = {
        "animals-nature": ["lion", "tiger", "bear", "rose", "fish"],
        "food-drink": ["peach", "bread", "sushi", "candy", "melon"],
        "travel-places": ["bus", "rocket", "school", "mountain", "tractor"],
        "activities": ["baseball", "tennis", "ribbon", "skis", "joker"],
    }
    data = tuple(replace(d, options={"subset": [*d.forget, *near[d.name]], "scenes": 2}) for d in POCKET.data)
    return replace(POCKET, data=data, **changes)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("CLIPNULL_NO_PROGRESS", "1")
    for variable in ("CLIPNULL_MODEL", "CLIPNULL_DATA", "CLIPNULL_PROTOCOL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "GRIDS", SHORT)
        return run_protocol(small(), methods=[*METHODS, "gradient", "lora"])


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A model of random weights in an open_clip folder."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    state = {k: v.contiguous() for k, v in open_clip.CLIP(**TINY).state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    config = {"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def write_coop(root, name, per_class=3):
    """A small copy of one data set in CoOp's layout; pictures differ in colour."""
    file, pictures, others = COOP[name]
    spec = next(d for d in KRAVETS.data if d.name == name)
    split, base = root / file, (root / file).parent / pictures
    rows = {"train": [], "val": [], "test": []}
    for y, c in enumerate(sorted([*spec.forget, *others])):
        for i in range(per_class):
            path = base / f"{y}_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 18), (40 * y, 255 - 60 * i, 30 * (y + i))).save(path)
            rows["train" if i == 0 else "test"].append([path.name, y, c])
    split.write_text(json.dumps(rows))


@pytest.fixture
def root(tmp_path):
    for name in COOP:
        write_coop(tmp_path, name)
    return tmp_path


def tiny_kravets(model, **changes):
    return replace(
        KRAVETS, models=(ProtocolModel("RN50", model), ProtocolModel("ViT-B/16", model)), **changes
    )


# --- names of classes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written", "other"),
    [
        ("2011 Ford Ranger SuperCab", "2011 ford ranger supercab", "2011 Ford Ranger"),
        ("toy poodle", "n02113624-toy_poodle", "poodle"),
        ("Scotch terrier", "Scotch_terrier", "terrier"),
        ("Pekinese", "Pekinese", "pekin"),
    ],
)
def test_a_class_is_found_however_it_is_written(name, written, other, tmp_path):
    pictures = [[f"{i}.png", i, c] for i, c in enumerate((other, written))]
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "split.json").write_text(json.dumps({"test": pictures}))
    spec = ProtocolData("x", (f"coop:{tmp_path}/split.json",), {name: {}})
    assert running.find_data(replace(KRAVETS, data=(spec,)))[0].forget == [1]
    gone = replace(spec, forget={"daisy": {}})
    with pytest.raises(ValueError, match="x: forget: unknown class 'daisy'; the closest are"):
        running.find_data(replace(KRAVETS, data=(gone,)))


# --- the published figures -------------------------------------------------------------------


def test_published_figures_agree_with_one_another():
    """Full accuracy is about the mean of class recall and the rest: a typing error would show."""
    for spec in KRAVETS.data:
        for model, full in spec.full.items():
            assert len(spec.forget) == 3
            for figures in spec.forget.values():
                forget, retain = figures[model]
                share = 1 / spec.n_classes
                assert share * forget + (1 - share) * retain == pytest.approx(full, abs=0.15)
    assert sum(len(d.full) for d in KRAVETS.data) == 8


def test_published_rows_hold_every_figure():
    rows = {(r.model, r.data, r.name): (r.published_forget, r.published_retain) for r in KRAVETS.published()}
    assert len(rows) == 2 * 4 * 4
    assert rows["RN50", "StanfordDogs", "Pekinese"] == (70.49, 51.54)
    assert rows["ViT-B/16", "OxfordFlowers", "trumpet creeper"] == (58.82, 70.85)
    assert rows["ViT-B/16", "StanfordCars", "all classes"] == (None, 65.53)
    assert all(r.forget is r.retain is r.apart is None for r in KRAVETS.published())


def test_models_are_open_clips_and_have_the_activation_of_their_weights():
    for model in KRAVETS.models:
        known = open_clip.get_pretrained_cfg(model.name, model.pretrained)
        assert (
            known and known.get("quick_gelu", False) == open_clip.get_model_config(model.name)["quick_gelu"]
        )


# --- the miniature ---------------------------------------------------------------------------


def test_every_forget_set_meets_every_method(result):
    seen = {(r.data, tuple(r.forget), r.method) for r in result.rows}
    sets = [(d.name, s) for d in POCKET.data for s in [*((c,) for c in d.forget), tuple(d.forget)]]
    assert seen == {(*s, m) for s in sets for m in [*METHODS, "gradient", "lora"]}
    assert len(result.rows) == 16 * 9
    assert all(r.joint == (len(r.forget) > 1) for r in result.rows)


def test_a_row_is_what_the_parts_give_by_hand(result, pocket):
    loaded = {d.name: cn.datasets.load("twemoji", **d.options) for d in small().data}
    T = {n: pocket.embed_text(d.classes, templates=d.templates) for n, d in loaded.items()}
    Z = {n: pocket.embed_images(d.images) for n, d in loaded.items()}
    mine = loaded["food-drink"]
    forget = ["pizza", "lemon", "cookie"]
    case = cn.Case(Z["food-drink"], T["food-drink"], mine.labels, forget, mine.classes)
    edit = cn.METHODS["ccup"].make(case.T_f, case.T_r)
    report = case.evaluate(edit)
    (row,) = result.where(data="food-drink", joint=True, method="ccup")
    assert row.full == pytest.approx((report.forget_before, report.forget_after))
    assert row.retain == pytest.approx((report.retain_before, report.retain_after))
    assert row.search == pytest.approx(report.search) and list(row.n_way) == [2, 5, "all"]
    assert row.n_way[2] == pytest.approx(report.n_way[2])
    assert row.certificate == pytest.approx(float(cn.certificate(edit, case.T_f, case.T_r).max()), abs=1e-9)
    pairs = []
    for name, d in loaded.items():
        if name == "food-drink":
            continue
        scores = [z @ T[name].T for z in (Z[name], edit.apply_image(Z[name]))]
        pairs.append([float((s.argmax(1) == d.labels).double().mean()) for s in scores])
        assert row.others[name] == pytest.approx(pairs[-1])
    assert row.score == pytest.approx(sum(score_parts(row.full, row.retain, pairs)))


def test_parts_add_up_to_the_score(result):
    for row in result.rows:
        assert sum(row.parts) == pytest.approx(row.score)
    random = result.where(method="random", joint=False)
    # what forgets nothing and breaks nothing scores one fifth, all of it for forgetting
    assert all(r.parts[0] == pytest.approx(0.2 * r.full.after / r.full.before) for r in random)


def test_masking_leaves_other_data_alone(result):
    for row in result.where(method="candidate masking"):
        assert row.full.after == row.n_way[2].after == 0
        assert math.isnan(row.search.after) and math.isnan(row.certificate)
        assert all(before == after for before, after in row.others.values())


def test_certificates_are_of_the_side_that_was_edited(result, monkeypatch):
    for method in ("mean", "hull"):
        assert all(r.certificate <= 1e-6 for r in result.where(method=method)), method
    assert all(r.certificate > 0 for r in result.where(method="random"))
    monkeypatch.setattr(running, "GRIDS", SHORT)
    sides = {"image": 1.0, "text": 2.0}
    monkeypatch.setattr(running, "certificate", lambda edit, f, r, side: torch.tensor([0.0, sides[side]]))
    run = run_protocol(part(small(), data=["activities"]), methods=["random", "lora"])
    assert {(r.method, r.certificate) for r in run.rows} == {("random", 1.0), ("lora", 2.0)}


def test_trained_baselines_report_side_and_seconds(result):
    for method, side in (("gradient", "image"), ("lora", "text")):
        for row in result.where(method=method):
            assert row.side == side and row.seconds > 0
    (closed,) = result.where(method="mean", data="activities", joint=True)
    assert closed.seconds > 0


def test_training_pictures_are_none_of_the_test_pictures(pocket):
    one = replace(running.find_data(small())[0], clip=pocket)
    case = one.training
    assert torch.bincount(case.labels).tolist() == [2] * 8  # scenes 1 and 2; 0 is the same for every seed
    assert (case.Z @ one.case.Z.T).max() < 1 - 1e-4


def test_summary_is_the_mean_over_sets(result):
    for row in result.summary():
        mine = result.where(joint=row.joint, method=row.method)
        assert len(mine) == (4 if row.joint else 12) and row.terms == 5
        for summed, own in ((row.full, [r.full for r in mine]), (row.two, [r.n_way[2][2:] for r in mine])):
            assert summed == pytest.approx([sum(x) / len(mine) for x in zip(*own, strict=True)])
        assert row.search.before == pytest.approx(sum(r.search.before for r in mine) / len(mine))
        assert row.score == pytest.approx(sum(r.score for r in mine) / len(mine))
        kept = [r.retain.after / r.retain.before for r in mine]
        assert row.retained == pytest.approx(sum(kept) / len(kept))


# --- the published protocol on made-up copies --------------------------------------------------


def test_full_protocol_runs_on_coop_copies_of_the_data(root, tiny_model, monkeypatch):
    monkeypatch.setattr(running, "GRIDS", SHORT)
    run = run_protocol(
        part(tiny_kravets(tiny_model), root=root), methods=["ccup", "candidate masking", "gradient"]
    )
    assert {r.data for r in run.rows} == set(COOP)
    assert len(run.rows) == 2 * 4 * 4 * 3
    assert all(set(r.others) == set(COOP) - {r.data} for r in run.rows)
    far = {(r.model, r.data, r.name) for r in run.before if r.apart > 1.005}
    assert far and {tuple(said.split(":")[0].split(", ")) for said in run.remarks()[: len(far)]} == far
    (row,) = [r for r in run.before if r.name == "euphonium" and r.model == "RN50"]
    assert (row.published_forget, row.published_retain) == (78.95, 85.77)
    assert row.apart == max(abs(100 * row.forget - 78.95), abs(100 * row.retain - 85.77))
    assert any(
        "euphonium" in said and "one of its 2 pictures is 50.0 points" in said for said in run.remarks()
    )
    assert run.notes == [
        f"{d.name}: {3 + len(COOP[d.name][2])} candidate classes, not {d.n_classes}" for d in KRAVETS.data
    ]
    assert run.remarks()[len(far) :] == run.notes
    assert "euphonium" in str(run) and "78.95 / 85.77" in str(run)


def test_a_figure_within_the_tolerance_needs_no_word(root, tiny_model):
    plain = part(tiny_kravets(tiny_model), ["RN50"], ["Caltech101", "StanfordCars"], root)
    measured = {(r.data, r.name): r for r in run_protocol(plain, methods=["candidate masking"]).before}

    def as_measured(spec, shift):
        figures = {
            c: {
                "RN50": (
                    100 * measured[spec.name, c].forget + shift,
                    100 * measured[spec.name, c].retain + shift,
                )
            }
            for c in spec.forget
        }
        return replace(spec, forget=figures, full={}, n_classes=None)

    for shift, remarks in ((0.9, 0), (1.1, 6)):
        data = tuple(as_measured(d, shift) for d in plain.data)
        run = run_protocol(replace(plain, data=data), methods=["candidate masking"])
        assert len(run.remarks()) == remarks and run.notes == [], shift
        assert all(r.apart is None or r.apart == pytest.approx(shift) for r in run.before)


def test_another_copy_of_the_data_is_used_and_said(root, tiny_model):
    folder = root / "caltech101" / "101_ObjectCategories"
    for c in ("BACKGROUND_Google", "euphonium", "minaret", "platypus", "Faces_easy", "airplanes"):
        (folder / c).mkdir(parents=True)
        Image.new("RGB", (20, 20), "teal").save(folder / c / "image_0001.jpg")
    (root / COOP["Caltech101"][0]).unlink()
    run = run_protocol(part(tiny_kravets(tiny_model), ["RN50"], root=root), methods=["random"])
    assert f"Caltech101: read from caltech101:{root}, which is not the protocol's split" in run.notes


def test_dogs_in_their_own_layout(root, tiny_model):
    (root / COOP["StanfordDogs"][0]).unlink()
    dogs = root / "stanford_dogs"
    breeds = ["n02086079-Pekinese", "n02113624-toy_poodle", "n02097298-Scotch_terrier", "n02088364-beagle"]
    lists = [f"{breed}/{breed[:9]}_{i}.jpg" for breed in breeds for i in (1, 2)]
    for i, path in enumerate(dogs / "Images" / name for name in lists):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * i, 90, 255 - 20 * i)).save(path)
    savemat(dogs / "test_list.mat", {"file_list": np.array(lists, dtype=object)[:, None]})
    run = run_protocol(part(tiny_kravets(tiny_model), ["RN50"], root=root), methods=["random"])
    assert next(r for r in run.before if r.name == "toy poodle").images == 2
    assert any(f"StanfordDogs: read from dogs:{root}," in note for note in run.notes)


# --- embeddings ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco():
    return run_protocol(COCO)


def test_shipped_embeddings_are_run_without_a_model(coco, monkeypatch):
    assert [(r.name, r.images) for r in coco.before] == [
        ("airplane", 42), ("toilet", 32), ("motorcycle", 23), ("all classes", 160)
    ]  # fmt: skip
    assert coco.before[-1].retain == pytest.approx(0.9)
    rows = {r.method: r for r in coco.summary() if r.joint}
    assert list(rows) == [*cn.METHODS, "candidate masking"]
    assert rows["mean"].full.after == 0 and 0.49 < rows["mean"].two.after < 0.56
    assert rows["hull"].two.after > 0.75 and rows["hull"].certificate < 1e-6
    assert (
        rows["ccup"].two.after == 0 and rows["ccup"].search.after > 0.98 and rows["ccup"].certificate > 0.55
    )
    assert rows["nullspace"].search.after == pytest.approx(0.5, abs=1e-4)
    assert all(r.others == {} for r in coco.rows)
    monkeypatch.setattr(running, "load", lambda *a: pytest.fail("a model was loaded"))
    again = run_protocol(COCO, methods=["ccup"])
    assert [r.full for r in again.rows] == [r.full for r in coco.where(method="ccup")]


def test_the_defaults_of_mean_and_hull_are_run(coco):
    E = cn.datasets.embeddings("coco")
    case = cn.Case(E.Z, E.T, E.labels, ["toilet"], E.classes)
    for method in ("mean", "hull"):
        report = case.evaluate(cn.METHODS[method].make(case.T_f, case.T_r))
        (row,) = [r for r in coco.where(method=method) if r.forget == ["toilet"]]
        assert row.n_way[2].after == pytest.approx(report.n_way[2].after)
        assert row.search.after == pytest.approx(report.search.after)


def test_the_table_shows_short_lists_search_and_certificate(coco):
    text = str(coco.table())
    head, line = text.splitlines()[1], next(x for x in text.splitlines() if "jointly" in x and " hull " in x)
    for column in ("full, %", "2-way, %", "search, %", "kept, %", "certificate"):
        assert column in head
    row = next(r for r in coco.summary() if r.joint and r.method == "hull")
    wanted = [100 * x for x in (row.full.after, row.two.after, row.search.after, row.retained)]
    assert line.split()[3:8] == [*(f"{x:.1f}" for x in wanted), "–"] and " 0.00 " in line
    assert f"before, ViT-B/16, jointly: full {100 * row.full.before:.1f}%, 2-way" in text


def test_embeddings_of_ones_own_are_data(tmp_path):
    T = torch.nn.functional.normalize(torch.randn(6, 12, generator=torch.Generator().manual_seed(0)), dim=1)
    np.savez(tmp_path / "mine.npz", Z=T.repeat(3, 1) + 0.01, T=T, labels=torch.arange(6).repeat(3))
    data = (ProtocolData("mine", (f"arrays:{tmp_path}/mine.npz",), {"class 1": {}, "class 4": {}}),)
    run = run_protocol(replace(COCO, data=data), methods=["mean"])
    assert [r.full for r in run.rows] == [(1.0, 0.0)] * 3


@pytest.mark.parametrize(
    ("change", "methods", "says"),
    [
        ({}, ["gradient"], "data: COCO has embeddings and no pictures"),
        ({"data": (*COCO.data, POCKET.data[3])}, ["ccup"], "data: COCO has embeddings and no pictures"),
        ({"data": (ProtocolData("x", ("embeddings:lvis",), {"dog": {}}),)}, ["ccup"], "names and no images"),
        ({"data": (ProtocolData("x", ("embeddings:voc",), {}),)}, ["ccup"], "x: name: got 'voc'"),
        ({"data": (ProtocolData("x", ("arrays:no/mine.npz",), {}),)}, ["ccup"], "x, want it at no/mine.npz"),
    ],
)
def test_what_embeddings_cannot_do_is_refused(change, methods, says):
    with pytest.raises(ValueError, match=says):
        run_protocol(replace(COCO, **change), methods=methods)


def test_missing_data_are_one_sentence_before_any_model(root, monkeypatch):
    def no_model(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(running, "load", no_model)
    cars, flowers = (root / COOP[n][0] for n in ("StanfordCars", "OxfordFlowers"))
    cars.unlink()
    flowers.unlink()
    with pytest.raises(ValueError) as error:
        run_protocol(part(KRAVETS, root=root))
    said = str(error.value)
    assert str(cars) in said and str(flowers) in said and "root=" in said
    assert "StanfordDogs" not in said and "\n" not in said


def test_a_split_without_its_pictures_says_which(root):
    for path in (root / "oxford_flowers" / "jpg").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"OxfordFlowers: name: 'coop:.*no '0_1\.png'"):
        run_protocol(part(KRAVETS, root=root))


def test_a_split_without_a_forget_class_says_which(root):
    split = root / COOP["OxfordFlowers"][0]
    split.write_text(split.read_text().replace("gazania", "daisy"))
    with pytest.raises(ValueError, match="unknown class 'gazania'"):
        run_protocol(part(KRAVETS, root=root))


# --- results ---------------------------------------------------------------------------------


def unknown(row):
    return row._replace(parts=(math.nan,) * 3)


def test_an_undefined_score_is_a_dash_in_print(result):
    lost = replace(result, rows=[unknown(r) for r in result.where(method="mean")])
    assert all(math.isnan(r.score) for r in lost.summary())
    lines = [line.split() for line in str(lost.table()).splitlines() if " mean " in line]
    assert len(lines) == 2 and all(line[-3] == "–" for line in lines)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="methods: got 'magic', want one of nullspace"):
        run_protocol(POCKET, methods=["magic"])


# --- choosing, and the command ---------------------------------------------------------------


def test_the_miniature_is_chosen_unless_all_is_there(root, tiny_model, monkeypatch):
    def no_model(*args, **kwargs):
        raise AssertionError("a model was built")

    monkeypatch.setattr(open_clip, "create_model", no_model)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", no_model)
    assert protocol.chosen()[0] == POCKET
    monkeypatch.setenv("CLIPNULL_PROTOCOL", f"full:{root / 'nowhere'}")
    given, why = protocol.chosen()
    assert given == POCKET and "StanfordCars" in why
    monkeypatch.setenv("CLIPNULL_PROTOCOL", f"full:{root}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root / "hub"))
    given, why = protocol.chosen()
    assert given == POCKET and "RN50-quickgelu" in why and "not in the cache folder" in why
    monkeypatch.setattr(running, "KRAVETS", tiny_kravets("local-dir:/nowhere/at/all"))
    given, why = protocol.chosen()
    assert given == POCKET and "open_clip_config.json" in why
    monkeypatch.setattr(running, "KRAVETS", tiny_kravets(tiny_model))
    given, why = protocol.chosen()
    assert given.root == str(root) and given.models[0].name == tiny_model


def test_another_model_is_called_by_its_name(tiny_model, monkeypatch):
    monkeypatch.setenv("CLIPNULL_MODEL", tiny_model)
    run = run_protocol(part(small(), data=["activities"]), methods=["random"])
    assert {r.model for r in run.rows + run.before} == {tiny_model}


def test_command_runs_what_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(protocol, "POCKET", part(small(), data=["activities", "food-drink"]))
    assert cli.main(["protocol", "--methods", "mean", "random"]) == 0
    said = capsys.readouterr().out
    assert "2-way" in said and said.count("one at a time  mean ") == said.count("jointly        random ") == 1
    assert "food-drink" in said and "travel-places" not in said


def test_command_says_what_the_full_protocol_lacks(tmp_path, capsys):
    assert cli.main(["protocol", "--full", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "split_zhou_StanfordCars.json" in said and said.count("\n") == 1


def test_command_runs_on_a_real_clip(monkeypatch, capsys):
    assert cli.main(["protocol", "--real", "--methods", "mean", "ccup"]) == 0
    said = capsys.readouterr().out
    assert "COCO" in said and "160" in said and said.count(" mean ") == 2


# --- figures ---------------------------------------------------------------------------------


def test_figures_say_what_they_show(result):
    said = cn.plots.alt(plots.score_parts(result.summary()))
    row = next(r for r in result.summary() if r.method == "ccup" and r.joint)
    assert f"ccup jointly {row.score:.3f} = {row.parts[0]:.3f}" in said
    penguin = next(r for r in result.before if r.name == "penguin")
    assert f"penguin {100 * penguin.forget:.1f}" in cn.plots.alt(plots.recall_before(result.before))
    assert "platypus 90.0" in cn.plots.alt(plots.recall_before(KRAVETS.published()))


def test_figures_bear_a_model_that_recognises_nothing(result):
    rows = [unknown(r) for r in result.rows]
    assert "–" in cn.plots.alt(plots.score_parts(replace(result, rows=rows).summary()))
