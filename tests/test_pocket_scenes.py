"""PocketCLIP's training data: scenes show what they say, captions say what is true, kinds are kinds."""

import hashlib
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import clipnull as cn
from tools.pocket import captions, kinds, scenes
from tools.pocket.scenes import Scene, Sprites

CLASSES = cn.datasets.class_table()


@pytest.fixture(scope="module")
def told():
    """1,000 random scenes of the whole class table with their captions."""
    n, k = len(CLASSES), len(scenes.ARTISTS)
    blank = np.zeros((n * k, 1, 1, 4), np.uint8)
    sprites = Sprites(dict(x=blank, y=np.repeat(np.arange(n), k), s=np.tile(np.arange(k), n)))
    rng = random.Random(0)
    drawn = [scenes.random_scene(rng.randrange(n), sprites, rng) for _ in range(1000)]
    return [(scene, captions.caption(scene, CLASSES, rng)) for scene in drawn]


def test_a_seed_gives_the_scenes_and_captions_that_it_always_gave():
    """A run that was stopped goes on as it began, whatever became of the code in between."""
    rows = dict(y=np.repeat([0, 1], len(scenes.ARTISTS)), s=np.tile(np.arange(len(scenes.ARTISTS)), 2))
    sprites = Sprites(dict(x=np.zeros((len(rows["y"]), 1, 1, 4), np.uint8), **rows))
    table = [dict(label="tiger", keywords=["cat", "stripes"], kinds=["big cat"]),
             dict(label="owl", keywords=["bird"], kinds=["bird of prey", "bird"])]  # fmt: skip
    rng = random.Random("0/7")
    said = [
        captions.caption(scenes.random_scene(i % 2, sprites, rng, rare=i / 300), table, rng)
        for i in range(300)
    ]
    assert said[:2] == ["a tiger on a grey background.", "a muted icon of a owl, bird."]
    assert hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] == "fa4f4a182c8d3c75"


# --- captions ------------------------------------------------------------------------------


def test_every_caption_is_true(told):
    for scene, text in told:
        assert captions.true_of(text, scene, CLASSES), (text, scene)


CHANGES = {
    "blurry": dict(blurred=False),
    "dark|bright": dict(light="normal"),
    "small|large": dict(size="medium", place="centre"),
    "upside down": dict(upside_down=False),
    "on the (left|right)|at the (top|bottom)": dict(place="centre"),
    "(?<!on a )grey(?! background)": dict(grey=False),
    "on a white background": dict(background="blue"),
    "on a (?!white)\\w+ background": dict(background="white"),
    "emoji|photo": dict(artist="openmoji"),
    "drawing": dict(artist="noto"),
    "next to|to the (left|right) of": dict(beside=None),
}


def names_of(scene):
    """All the names that a caption may give to what a scene shows."""
    shown = [CLASSES[c] for c in (scene.cls, scene.beside) if c is not None]
    return "; ".join(name for c in shown for name in (c["label"], *c["keywords"], *c["kinds"]))


@pytest.mark.parametrize("said", CHANGES)
def test_a_caption_is_false_of_a_scene_that_lacks_what_it_says(told, said):
    """Control: whatever is said is taken away from the scene."""
    changed = [
        (scene, text)
        for scene, text in told
        if re.search(rf"\b({said})\b", text) and not re.search(rf"\b({said})\b", names_of(scene))
    ]
    assert len(changed) >= 10
    for scene, text in changed:
        assert not captions.true_of(text, replace(scene, **CHANGES[said]), CLASSES), (text, scene)


def test_a_caption_is_false_of_other_classes(told):
    rng = random.Random(1)
    wrong = [captions.true_of(text, replace(s, cls=rng.randrange(len(CLASSES))), CLASSES) for s, text in told]
    assert sum(wrong) <= 50  # a kind, such as "food", can be true of both


@pytest.mark.parametrize(
    "text", ["a photo.", "a bright grey", "a tiger and a wolf.", "a tiger, wolf.", "an icon of a tiger"]
)
def test_what_is_not_there_is_not_read_into_a_tiger(text):
    tiger = next(i for i, c in enumerate(CLASSES) if c["label"] == "tiger")
    assert captions.true_of("an emoji of a tiger, a kind of big cat.", Scene(tiger, "noto"), CLASSES)
    assert not captions.true_of(text, Scene(tiger, "noto"), CLASSES)


def test_captions_say_a_bit_of_everything(told):
    text = "\n".join(text for _, text in told)
    for words in ("a kind of", "small icon of a", "blurry", "bright", "dark", "grey", "upside down", "on the left",
                  "on a blue background", "on a white background", "photo", "emoji", "drawing", "picture", " and a "):  # fmt: skip
        assert text.count(words) >= 3, words
    bare = [t for _, t in told if t in {c["label"] for c in CLASSES} | {f"a {c['label']}." for c in CLASSES}]
    assert len(bare) > 30


def test_the_vocabulary_has_every_token(told):
    vocabulary = captions.Vocabulary(CLASSES)
    prompts = [t.format(c["label"]) for c in CLASSES for t in captions.TEMPLATES]
    full = vocabulary.tokenizer([*(text for _, text in told), *prompts])
    assert set(full.unique().tolist()) <= set(vocabulary.rows.tolist())
    tokens = vocabulary([text for _, text in told])
    assert torch.equal(vocabulary.rows[tokens], full[: len(told), : tokens.shape[1]])


# --- pictures ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sprites():
    """Class 0: a red block in the upper half; class 1: a green one that fills the frame."""
    x = np.zeros((2, 96, 96, 4), np.uint8)
    x[0, 8:48, 8:88] = (200, 40, 40, 255)
    x[1, 8:88, 8:88] = (40, 200, 40, 255)
    return Sprites(dict(x=x, y=np.array([0, 1]), s=np.array([0, 0])))


def drawn(sprites, scene, n=24):
    return scenes.draw([scene] * n, sprites, torch.Generator().manual_seed(0))


def art(x):
    """Where a picture on white is not white, and its centre of mass (x, y) in [-1, 1]: [n, H, W], [n, 2]."""
    mask = (x.amin(1) < 0.85).float()
    at = torch.linspace(-1, 1, x.shape[-1])
    total = mask.sum((1, 2)).clamp_min(1)
    return mask, torch.stack([(mask.sum(1) * at).sum(1), (mask.sum(2) * at).sum(1)], 1) / total[:, None]


def test_a_seed_gives_the_pictures_that_it_always_gave(sprites):
    rng = random.Random(1)
    shown = [scenes.random_scene(i % 2, sprites, rng) for i in range(40)]
    assert any(scene.beside is not None for scene in shown)
    x = scenes.draw(shown, sprites, torch.Generator().manual_seed(0)).mean((1, 2, 3))
    torch.testing.assert_close(x[[0, 13, 39]], torch.tensor([0.4781, 0.3686, 0.5550]), atol=1e-4, rtol=0)


def test_size_place_and_upside_down_are_drawn(sprites):
    block = Scene(1, "noto")
    areas = [
        art(drawn(sprites, replace(block, size=size)))[0].mean((1, 2))
        for size in ("small", "medium", "large")
    ]
    assert areas[0].max() < areas[1].min() and areas[1].mean() < areas[2].mean()
    for place, axis, sign in [("left", 0, -1), ("right", 0, 1), ("top", 1, -1), ("bottom", 1, 1)]:
        centre = art(drawn(sprites, replace(block, size="small", place=place)))[1]
        assert (centre[:, axis] * sign > 0.25).all() and (centre[:, 1 - axis].abs() < 0.2).all()
    upright, turned = (art(drawn(sprites, Scene(0, "noto", upside_down=u)))[1][:, 1] for u in (False, True))
    assert (upright < 0).all() and (turned > 0).all()


def test_light_grey_and_blur_are_drawn(sprites):
    block = Scene(1, "noto", size="large")
    middle = {
        light: drawn(sprites, replace(block, light=light))[:, 1, 24:40, 24:40].mean((1, 2))
        for light in scenes.GAIN
    }
    assert middle["dark"].mean() < middle["normal"].mean() - 0.1 < middle["bright"].mean() - 0.2
    colour, grey = (
        drawn(sprites, replace(block, grey=g))[:, :, 24:40, 24:40].mean((2, 3)) for g in (False, True)
    )
    assert grey.std(1).max() < 0.02 < colour.std(1).min()
    sharp, blurred = (drawn(sprites, replace(block, size="medium", blurred=b)) for b in (False, True))
    edge = [x.diff(dim=-1).abs().amax((1, 2, 3)).mean() for x in (sharp, blurred)]
    assert edge[1] < 0.7 * edge[0]
    assert blurred[:, :, 0, 0].mean() > 0.9  # white stays white at the border


def test_backgrounds_are_drawn(sprites):
    small = Scene(1, "noto", size="small")
    for name, rgb in {"white": (1.0, 1.0, 1.0), **scenes.COLOURS}.items():
        corner = drawn(sprites, replace(small, background=name))[:, :, :4, :4].mean((0, 2, 3))
        torch.testing.assert_close(corner, torch.tensor(rgb), atol=0.06, rtol=0)
    x = drawn(sprites, replace(small, background="gradient"))
    assert ((x[:, :, :3, :3].mean((2, 3)) - x[:, :, -3:, -3:].mean((2, 3))).abs().amax(1) > 0.08).all()


def test_two_objects_stand_side_by_side(sprites):
    x = drawn(sprites, Scene(0, "noto", beside=1))
    red, green = x[:, 0] - x[:, 1], x[:, 1] - x[:, 0]
    assert ((red > 0.15).float()[:, :, :32].sum((1, 2)) > 20).all() and (red[:, :, 40:] < 0.3).all()
    assert ((green > 0.15).float()[:, :, 32:].sum((1, 2)) > 20).all() and (green[:, :, :24] < 0.3).all()


# --- kinds ---------------------------------------------------------------------------------


def test_the_table_has_no_struck_out_sense():
    by_label = {c["label"]: c["kinds"] for c in CLASSES}
    assert set(by_label) >= set(kinds.STRUCK)
    for label, struck in kinds.STRUCK.items():
        assert not struck & set(by_label[label]), label
        assert "" not in struck or by_label[label] == [], label
    assert sum(map(bool, by_label.values())) > 750
    assert by_label["tiger"][:2] == ["big cat", "feline"] and by_label["guide dog"][:2] == [
        "working dog",
        "dog",
    ]
    for label, of_label in by_label.items():
        assert len(of_label) == len(set(of_label)) <= kinds.MOST and label not in of_label
        assert not set(of_label) & kinds.UNSAID, label


@pytest.fixture
def wordnet(tmp_path):
    """Seven senses in WordNet's own format: a bat is an animal or a club."""
    rows = [  # offset, file, words, offset above, gloss
        ("00000001", "03", ["entity"], None, "all there is"),
        ("00000002", "05", ["animal"], "00000001", "a living being"),
        ("00000003", "05", ["mammal"], "00000002", "a warm animal"),
        ("00000004", "05", ["bat", "chiropteran"], "00000003", "flies at night"),
        ("00000005", "06", ["club"], "00000001", "a stout stick"),
        ("00000006", "06", ["bat"], "00000005", "hits a ball"),
        ("00000007", "05", ["fruit_bat"], "00000004", "eats fruit"),
    ]
    data, index = ["  1 the licence\n"], {}
    for offset, file, words, above, gloss in rows:
        pointers = f"001 @ {above} n 0000" if above else "000"
        pairs = " ".join(f"{word} 0" for word in words)
        data.append(f"{offset} {file} n {len(words):02x} {pairs} {pointers} | {gloss}  \n")
        for word in words:
            index.setdefault(word, []).append(offset)
    lines = [f"{w} n {len(o)} 1 @ {len(o)} 0 {' '.join(o)}  \n" for w, o in index.items()]
    (tmp_path / "data.noun").write_text("".join(data))
    (tmp_path / "index.noun").write_text("".join(["  1 the licence\n", *lines]))
    return tmp_path


def entry(label, category="animals-nature", keywords=()):
    return dict(label=label, category=category, subcategory="some-kind", keywords=list(keywords))


def test_kinds_are_looked_up(wordnet, monkeypatch):
    table = [
        entry("bat"),
        entry("bat", "activities"),
        entry("fruit bat"),
        entry("vampire bats"),
        entry("bat face"),
        entry("zebu"),
    ]
    assert kinds.look_up(table, wordnet) == [
        ["mammal", "animal"], ["club"], ["bat", "mammal", "animal"], ["mammal", "animal"], ["mammal", "animal"], [],
    ]  # fmt: skip
    monkeypatch.setitem(kinds.STRUCK, "bat", {"mammal"})
    assert kinds.look_up([entry("bat")], wordnet) == [["club"]]
    monkeypatch.setitem(kinds.STRUCK, "bat", {""})
    assert kinds.look_up([entry("bat")], wordnet) == [[]]


def test_of_senses_in_the_same_file_the_keywords_choose(wordnet):
    senses, synsets = kinds.read(wordnet)
    synsets["00000006"] = synsets["00000006"]._replace(file="05")
    senses["bat"].reverse()
    assert kinds.kinds_of(entry("bat"), senses, synsets) == ["club"]  # the commonest
    assert kinds.kinds_of(entry("bat", keywords=["night"]), senses, synsets) == ["mammal", "animal"]


def test_without_wordnet_it_is_named(tmp_path):
    with pytest.raises(ValueError, match="want Debian's wordnet-base"):
        kinds.look_up([], tmp_path)
