"""The protocol: its data, its one code path on made-up copies of the data sets, and what it reports."""

from __future__ import annotations

import csv
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
from clipnull.protocol import find
from clipnull.protocol import run as running
from clipnull.protocol.match import match_class
from clipnull.protocol.published import KRAVETS, POCKET, ProtocolModel
from clipnull.protocol.result import Change
from clipnull.protocol.run import run_protocol
from clipnull.protocol.score import ScoreParts, protocol_score

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


#: in place of `clipnull.protocol.GRIDS`: what is learnt does not matter here
SHORT = {"gradient": {"weight": (10.0, 30.0), "steps": (4,)}, "lora": {"rank": (2, 4, 8), "steps": (4,)}}


def small(**changes):
    """The miniature with eight classes a category and two scenes."""
    near = {
        "animals-nature": ["lion", "wolf", "bear", "rose", "fish"],
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
        return run_protocol(small(), methods=[*POCKET.methods, "gradient", "lora"])


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
    ("name", "written"),
    [
        ("2009 Spyker C8 Coupe", "Spyker C8 Coupe 2009"),
        ("2010 Dodge Ram Pickup 3500 Crew Cab", "Dodge Ram Pickup 3500 Crew Cab 2010"),
        ("2011 Ford Ranger SuperCab", "2011 ford ranger supercab"),
        ("toy poodle", "n02113624-toy_poodle"),
        ("Scotch terrier", "Scotch_terrier"),
        ("Pekinese", "pekinese"),
        ("trumpet creeper", "trumpet-creeper"),
        ("pizza", "pizza, pizza pie"),
    ],
)
def test_a_class_is_found_however_it_is_written(name, written):
    others = ["Spyker C8 Convertible 2009", "Dodge Ram Pickup 3500 Quad Cab 2009", "poodle", "creeper"]
    assert match_class(name, [*others, written]) == 4
    assert match_class(name, [written, *others]) == 0


def test_the_name_as_it_is_comes_first():
    assert match_class("Pug", ["pug", "Pug"]) == 1


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (["Audi TT 2011", "Spyker C8 Convertible 2009"], "no class is '2009 Spyker C8 Coupe'; the closest"),
        (["Spyker C8 Coupe 2009", "spyker c8 2009 coupe"], "may be any of"),
    ],
)
def test_no_class_and_two_classes_are_errors(classes, says):
    with pytest.raises(ValueError, match=says):
        match_class("2009 Spyker C8 Coupe", classes)


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


def test_published_table_shows_every_figure():
    text = str(KRAVETS.published())
    assert "70.49 / 51.54" in text and "58.82 / 70.85" in text and "65.53" in text
    assert "Tiny-ImageNet" not in text  # nothing was published for it
    assert text.count("\n") == 1 + 4 * 4


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
    assert seen == {(*s, m) for s in sets for m in result.about["methods"]}
    assert len(result.rows) == 16 * 8
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
    for key in ("forget_before", "forget_after", "retain_before", "retain_after"):
        assert getattr(row, key) == pytest.approx(getattr(report, key))
    pairs = []
    for name, d in loaded.items():
        if name == "food-drink":
            continue
        scores = [z @ T[name].T for z in (Z[name], edit.apply_image(Z[name]))]
        pairs.append([float((s.argmax(1) == d.labels).double().mean()) for s in scores])
        assert row.others[name] == pytest.approx(pairs[-1])
    assert row.score == pytest.approx(
        protocol_score(
            report.forget_before, report.forget_after, report.retain_before, report.retain_after, pairs
        )
    )


def test_parts_add_up_to_the_score(result):
    for row in result.rows:
        assert sum(row.parts) == pytest.approx(row.score)
    random = result.where(method="random", joint=False)
    # what forgets nothing and breaks nothing scores one fifth, all of it for forgetting
    assert all(r.parts[0] == pytest.approx(0.2 * r.forget_after / r.forget_before) for r in random)


def test_dropping_the_label_leaves_other_data_alone(result):
    for row in result.where(method="drop the label"):
        assert row.forget_after == 0
        assert all(before == after for before, after in row.others.values())


def test_trained_baselines_report_their_tuning(result):
    for method, side in (("gradient", "image"), ("lora", "text")):
        for row in result.where(method=method):
            assert row.side == side and row.tuning_seconds > row.seconds > 0
            assert row.tried == {"gradient": 2, "lora": 3}[method]
    (closed,) = result.where(method="anchored", data="activities", joint=True)
    assert closed.tried == 1 and closed.tuning_seconds == closed.seconds > 0


def test_training_pictures_are_none_of_the_test_pictures(pocket):
    found, _ = find.find_data(small(), [])
    one = running._Run(small(), "", pocket, found[:1], 0).ready[0]
    case = running.training_case(pocket, one)
    assert torch.bincount(case.labels).tolist() == [2] * 8  # scenes 1 and 2; 0 is the same for every seed
    assert (case.Z @ one.case.Z.T).max() < 1 - 1e-4


def test_names_of_other_data_can_be_retained_too():
    one = {"models": None, "methods": ["anchored"], "data": ["food-drink", "activities"]}
    rows = [run_protocol(small(retain=r, joint=False), **one).rows for r in ("same", "all")]
    kept = [[after / before for row in part for before, after in row.others.values()] for part in rows]
    assert sum(kept[1]) > sum(kept[0])


def test_summary_is_the_mean_over_sets(result):
    for row in result.summary():
        mine = result.where(joint=row.joint, method=row.method)
        assert row.sets == len(mine) == (4 if row.joint else 12)
        assert row.forget_after == pytest.approx(sum(r.forget_after for r in mine) / len(mine))
        assert row.score == pytest.approx(sum(r.score for r in mine) / len(mine))
        kept = [r.retain_after / r.retain_before for r in mine]
        assert row.retained == pytest.approx(sum(kept) / len(kept))


# --- the published protocol on made-up copies --------------------------------------------------


def test_full_protocol_runs_on_coop_copies_of_the_data(root, tiny_model, monkeypatch):
    monkeypatch.setattr(running, "GRIDS", SHORT)
    run = run_protocol(tiny_kravets(tiny_model), root=root, methods=["ccup", "drop the label", "gradient"])
    assert {r.data for r in run.rows} == set(COOP)
    assert len(run.rows) == 2 * 4 * 4 * 3
    assert all(set(r.others) == set(COOP) - {r.data} for r in run.rows)
    # one reason for each thing that differs here, and the tolerance decides who gets a remark
    for row in run.before:
        assert bool(row.why) == (row.apart > KRAVETS.tolerance + 0.005)
    (row,) = [r for r in run.before if r.name == "euphonium" and r.model == "RN50"]
    assert (row.published_forget, row.published_retain) == (78.95, 85.77)
    assert row.apart == max(abs(100 * row.forget - 78.95), abs(100 * row.retain - 85.77))
    for reason in ("one of its 2 pictures is 50.0 points", "5 candidate classes, not 100", "the weights are"):
        assert reason in row.why
    assert "not of the protocol's split" not in row.why
    assert any("Tiny-ImageNet" in note for note in run.notes)
    assert "euphonium" in str(run) and "78.95 / 85.77" in run._repr_html_()


def test_a_figure_within_the_tolerance_needs_no_word(root, tiny_model):
    options = {"root": root, "methods": ["drop the label"], "data": ["Caltech101", "StanfordCars"]}
    plain = tiny_kravets(tiny_model, weights=None)
    measured = {
        (r.data, r.name): r for r in run_protocol(plain, models=["RN50"], **options).before
    }  # fmt: skip

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
        data = tuple(as_measured(d, shift) for d in plain.data if d.name in options["data"])
        run = run_protocol(replace(plain, data=data), models=["RN50"], **options)
        assert len(run.remarks()) == remarks, shift
        assert all(r.apart is None or r.apart == pytest.approx(shift) for r in run.before)


def test_another_copy_of_the_data_is_used_and_said(root, tiny_model):
    folder = root / "caltech101" / "101_ObjectCategories"
    for c in ("BACKGROUND_Google", "euphonium", "minaret", "platypus", "Faces_easy", "airplanes"):
        (folder / c).mkdir(parents=True)
        Image.new("RGB", (20, 20), "teal").save(folder / c / "image_0001.jpg")
    (root / COOP["Caltech101"][0]).unlink()
    run = run_protocol(tiny_kravets(tiny_model), root=root, models=["RN50"], methods=["random"])
    assert run.about["data"]["Caltech101"] == f"caltech101:{root}"
    row = next(r for r in run.before if r.name == "platypus")
    assert "not of the protocol's split" in row.why


def test_dogs_and_tiny_imagenet_in_their_own_layouts(root, tiny_model):
    (root / COOP["StanfordDogs"][0]).unlink()
    dogs, tiny = root / "stanford_dogs", root / "tiny-imagenet-200"
    breeds = ["n02086079-Pekinese", "n02113624-toy_poodle", "n02097298-Scotch_terrier", "n02088364-beagle"]
    lists = [f"{breed}/{breed[:9]}_{i}.jpg" for breed in breeds for i in (1, 2)]
    words = {"n01443537": "goldfish, Carassius auratus", "n04146614": "school bus", "n07873807": "pizza"}
    pictures = [dogs / "Images" / name for name in lists]
    pictures += [tiny / "val" / "images" / f"val_{i}.JPEG" for i in range(3)]
    for i, path in enumerate(pictures):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * i, 90, 255 - 20 * i)).save(path)
    savemat(dogs / "test_list.mat", {"file_list": np.array(lists, dtype=object)[:, None]})
    (tiny / "wnids.txt").write_text("\n".join(words))
    (tiny / "words.txt").write_text("\n".join(f"{k}\t{v}" for k, v in words.items()))
    rows = [f"val_{i}.JPEG\t{wnid}\t0\t0\t9\t9" for i, wnid in enumerate(words)]
    (tiny / "val" / "val_annotations.txt").write_text("\n".join(rows))
    run = run_protocol(tiny_kravets(tiny_model, joint=False), root=root, models=["RN50"], methods=["random"])
    assert run.about["data"]["StanfordDogs"] == f"dogs:{root}" and run.notes == []
    row = next(r for r in run.before if r.name == "toy poodle")
    assert row.images == 2 and "not of the protocol's split" in row.why
    # the fifth data set is looked at, and counts in no score but its own
    assert len(run.rows) == 5 * 3
    row = next(r for r in run.rows if r.data == "Caltech101")
    assert "Tiny-ImageNet" in row.others
    if not math.isnan(row.score):
        core = [pair for name, pair in row.others.items() if name != "Tiny-ImageNet"]
        accuracies = (row.forget_before, row.forget_after, row.retain_before, row.retain_after)
        assert row.score == pytest.approx(protocol_score(*accuracies, core))


def test_a_class_written_otherwise_is_named_among_the_reasons(root, tiny_model):
    split = root / COOP["StanfordCars"][0]
    split.write_text(split.read_text().replace("2009 Spyker C8 Coupe", "Spyker C8 Coupe 2009"))
    run = run_protocol(tiny_kravets(tiny_model), root=root, models=["RN50"], methods=["random"])
    row = next(r for r in run.before if r.name == "2009 Spyker C8 Coupe")
    assert "the data set writes 'Spyker C8 Coupe 2009'" in row.why
    assert ["2009 Spyker C8 Coupe"] in [r.forget for r in run.rows]


def test_missing_data_are_one_sentence_before_any_model(root, monkeypatch):
    def no_model(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(running, "load_clip", no_model)
    cars, flowers = (root / COOP[n][0] for n in ("StanfordCars", "OxfordFlowers"))
    cars.unlink()
    flowers.unlink()
    with pytest.raises(ValueError) as error:
        run_protocol(KRAVETS, root=root)
    said = str(error.value)
    assert str(cars) in said and str(flowers) in said and "root=" in said
    assert "StanfordDogs" not in said and "Tiny-ImageNet" not in said and "\n" not in said


def test_a_split_without_its_pictures_says_which(root):
    for path in (root / "oxford_flowers" / "jpg").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"OxfordFlowers: root: no '0_1\.png'"):
        run_protocol(KRAVETS, root=root)


def test_a_split_without_a_forget_class_says_which(root):
    split = root / COOP["OxfordFlowers"][0]
    split.write_text(split.read_text().replace("gazania", "daisy"))
    with pytest.raises(ValueError, match="no class is 'gazania'"):
        run_protocol(KRAVETS, root=root)


# --- results ---------------------------------------------------------------------------------


def test_json_holds_every_field(result, tmp_path):
    stored = json.loads(result.save(tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (
        stored["name"] == result.name and stored["notes"] == result.notes and stored["about"] == result.about
    )
    for kind in ("before", "rows"):
        for saved, row in zip(stored[kind], getattr(result, kind), strict=True):
            assert saved == json.loads(json.dumps(vars(row))), "tuples apart, what was measured"


def unknown(row):
    return replace(row, score=math.nan, parts=ScoreParts(*[math.nan] * 3))


def test_an_undefined_score_is_null_in_json_and_a_dash_in_print(result, tmp_path):
    lost = replace(result, rows=[unknown(r) for r in result.where(method="random")])
    assert all(math.isnan(r.score) for r in lost.summary())
    stored = json.loads(lost.save(tmp_path / "run.json").read_text(encoding="utf-8"))
    assert all(r["score"] is None and r["parts"] == [None] * 3 for r in stored["rows"])
    assert "–" in str(lost.table())


def test_csv_has_a_line_a_row(result, tmp_path):
    with result.save(tmp_path / "run.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(result.rows)
    assert lines[0]["forget"] == "tiger" and float(lines[0]["score"]) == result.rows[0].score
    other = result.rows[0].others["food-drink"]
    assert tuple(float(lines[0][f"food-drink {w}"]) for w in ("before", "after")) == other
    assert "others" not in lines[0] and float(lines[0]["score, forget"]) == result.rows[0].parts.forget
    assert [p.name for p in tmp_path.iterdir()] == ["run.csv"]


@pytest.mark.parametrize("name", ["run.txt", "nowhere/run.json"])
def test_a_bad_file_name_is_named(result, tmp_path, name):
    with pytest.raises(ValueError, match="path: "):
        result.save(tmp_path / name)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"methods": ["magic"]}, "methods: got 'magic'"),
        ({"models": ["RN50"]}, "models: got 'RN50', want one of PocketCLIP"),
        ({"data": ["dogs"]}, "data: got 'dogs'"),
        ({"data": []}, "data: got none"),
    ],
)
def test_unknown_parts_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        run_protocol(POCKET, **wrong)


# --- choosing, and the command ---------------------------------------------------------------


def test_the_miniature_is_chosen_unless_all_is_there(root, tiny_model, monkeypatch):
    def no_model(*args, **kwargs):
        raise AssertionError("a model was built")

    monkeypatch.setattr(open_clip, "create_model", no_model)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", no_model)
    assert protocol.chosen()[0] is POCKET
    monkeypatch.setenv("CLIPNULL_PROTOCOL", f"full:{root / 'nowhere'}")
    given, why = protocol.chosen()
    assert given is POCKET and "StanfordCars" in why
    monkeypatch.setenv("CLIPNULL_PROTOCOL", f"full:{root}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root / "hub"))
    given, why = protocol.chosen()
    assert given is POCKET and "RN50-quickgelu" in why and "not in the cache folder" in why
    monkeypatch.setattr(find, "KRAVETS", tiny_kravets("local-dir:/nowhere/at/all"))
    given, why = protocol.chosen()
    assert given is POCKET and "open_clip_config.json" in why
    monkeypatch.setattr(find, "KRAVETS", tiny_kravets(tiny_model))
    given, why = protocol.chosen()
    assert given.root == str(root) and given.models[0].name == tiny_model


def test_another_model_is_called_by_its_name(tiny_model, monkeypatch):
    monkeypatch.setenv("CLIPNULL_MODEL", tiny_model)
    run = run_protocol(small(joint=False), data=["activities"], methods=["random"])
    assert {r.model for r in run.rows + run.before} == {tiny_model}


def test_command_runs_the_miniature_and_saves(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(protocol, "POCKET", small(joint=False))
    out = tmp_path / "results.json"
    assert cli.main(["protocol", "--methods", "anchored", "random", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "anchored" in said and "one at a time" in said and str(out) in said
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 12 * 2


def test_command_says_what_the_full_protocol_lacks(tmp_path, capsys):
    assert cli.main(["protocol", "--full", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "split_zhou_StanfordCars.json" in said and said.count("\n") == 1


def test_command_names_a_bad_file_before_it_runs(capsys, monkeypatch):
    monkeypatch.setattr(protocol, "run_protocol", lambda *a, **k: pytest.fail("it ran"))
    assert cli.main(["protocol", "--out", "results.txt"]) == 2
    assert "results.txt" in capsys.readouterr().err


# --- figures ---------------------------------------------------------------------------------


def test_figures_say_what_they_show(result):
    summary = result.summary()
    trained = list(cn.protocol.BASELINES)
    figures = [
        plots.published_recall(KRAVETS),
        plots.score_parts(summary),
        plots.kept_elsewhere(result.rows, ["anchored", "gradient"]),
        plots.score_against_time(summary, trained=trained),
    ]
    said = [cn.plots.alt(f) for f in figures]
    assert "platypus 90.0" in said[0] and "26 to 100%" in said[0]
    row = next(r for r in summary if r.method == "ccup" and r.joint)
    assert f"ccup jointly {row.score:.3f} = {row.parts.forget:.3f}" in said[1]
    mine = result.where(method="anchored", data="activities")
    kept = sum(r.others["food-drink"][1] / r.others["food-drink"][0] for r in mine) / len(mine)
    assert f"food-drink {100 * kept:.1f}" in said[2].partition("activities: ")[2]
    assert "drop the label" not in said[3] and "lora: " in said[3] and " ms" in said[3]


def test_figures_bear_a_model_that_recognises_nothing(result):
    rows = [unknown(r) for r in result.rows]
    lost = replace(result, rows=rows).summary()
    assert "–" in cn.plots.alt(plots.score_parts(lost))
    assert "–" in cn.plots.alt(plots.score_against_time(lost))
    blind = [replace(r, retain_before=0.0, others={k: Change(0.0, 0.0) for k in r.others}) for r in rows]
    assert "–" in cn.plots.alt(plots.kept_elsewhere(blind, ["anchored"]))
