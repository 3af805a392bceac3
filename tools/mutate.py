# ruff: noqa: E501
"""Plant faults in a copy of the repository and see whether the tests notice them.

    python tools/mutate.py                    # every fault, two at a time
    python tools/mutate.py --only conformal   # those whose line matches a pattern
    python tools/mutate.py --list

Each fault is one line of `FAULTS`: a file, the text to replace, which occurs in it exactly once, what
it becomes, and the tests that have to fail then. Without a fault those tests have to pass. Exit status
0: every fault was noticed; 1: some were not, or their line is out of date.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
#: seconds until a test run counts as hanging, which is noticed too
LIMIT = 300
#: what pytest returns when tests failed; anything else above 0 means that they were not run
FAILED = 1

#: file || text || what it becomes || tests; "\n" is a line break, "#" begins a comment
FAULTS = r"""
# controls that ignore what they control
clipnull/auditing/controls.py || random_subspace(edit.dim, max(1, edit.rank), seed, strength) || random_subspace(edit.dim, 1, seed, strength) || tests/test_audit_controls.py::test_controls_are_random_subspaces_of_the_edits_rank_and_strength
clipnull/auditing/controls.py || random_subspace(edit.dim, max(1, edit.rank), seed, strength) || random_subspace(edit.dim, max(1, edit.rank), seed) || tests/test_audit_controls.py::test_controls_are_random_subspaces_of_the_edits_rank_and_strength
clipnull/auditing/controls.py || if after < min(values): || if after < max(values): || tests/test_audit_controls.py::test_the_verdict_is_against_every_random_subspace_not_the_best_of_them
clipnull/auditing/controls.py || picked = sorted(case.retain[i] for i in order) || picked = case.forget || tests/test_audit_controls.py::test_the_shuffled_names_are_other_classes_drawn_anew
clipnull/auditing/words.py || torch.stack([found[c].max() for c in who.tolist()]) || torch.stack([found[c].mean() for c in who.tolist()]) || tests/test_audit_controls.py::test_a_word_must_beat_the_best_made_up_word_not_their_mean
clipnull/auditing/controls.py || stdev(values) if seeds > 1 || 0.9 * stdev(values) if seeds > 1 || tests/test_audit_controls.py::test_controls_are_random_subspaces_of_the_edits_rank_and_strength
clipnull/auditing/layers.py || balanced(X, shuffled, folds, seed), || balanced(X, yes, folds, seed), || tests/test_attacks.py::test_probe_sees_what_a_layer_holds
clipnull/auditing/relearning.py || names[c] = words[i % len(words)] || names[c] = T[c] || tests/test_attacks.py::test_relearning_gives_every_class_its_own_draw_and_its_own_new_name
# one seed used for all
clipnull/erasers.py || generator=torch.Generator().manual_seed(seed)) || generator=torch.Generator().manual_seed(0)) || tests/test_erasers.py::test_random_subspace_is_a_seeded_projector
clipnull/auditing/controls.py || (control(edit, seed + i) for i || (control(edit, seed) for i || tests/test_audit_controls.py::test_controls_are_random_subspaces_of_the_edits_rank_and_strength
clipnull/comparison.py || one.T_r, seed=seed + i) || one.T_r, seed=seed) || tests/test_evaluation.py::test_sweep_sizes_draws_another_control_and_another_forget_set_each_time
clipnull/comparison.py || two.after if two || two.before if two || tests/test_evaluation.py::test_sweep_sizes_shows_short_lists_and_search
# what was trained on among what is tested on
clipnull/auditing/relearning.py || train, test, rest = own[:k], own[half:], rest[:OTHERS] || train, test, rest = own[:k], own, rest[:OTHERS] || tests/test_attacks.py::test_images_that_have_nothing_in_common_teach_nothing_about_each_other
clipnull/auditing/confidence.py || cal, rest = order[: len(order) // 2], order[len(order) // 2 :] || cal, rest = order[len(order) // 2 :], order[len(order) // 2 :] || tests/test_audit_controls.py::test_conformal_sets_are_calibrated_on_other_images_each_model_on_its_own
clipnull/auditing/confidence.py || conformal_sets(p, p[cal], y[cal])[torch || conformal_sets(p, P[0][cal], y[cal])[torch || tests/test_audit_controls.py::test_conformal_sets_are_calibrated_on_other_images_each_model_on_its_own
# probes that are not balanced, tolerances, bins, ties, masks, defaults
clipnull/auditing/probes.py || return (_check.share(said[yes]) + _check.share(~said[~yes])) / 2 || return _check.share(said == yes) || tests/test_audit_controls.py::test_yes_or_no_is_the_mean_of_two_recalls
clipnull/auditing/probes.py || concept, svd_tol=1e-6) || concept) || tests/test_audit_controls.py::test_leace_erases_a_class_however_rare_and_near
clipnull/auditing/confidence.py || which = (top * bins).ceil().long().sub(1).clamp(0, bins - 1) || which = (top * bins).long().clamp(0, bins - 1) || tests/test_audit_controls.py::test_calibration_bins_are_closed_above
clipnull/auditing/confidence.py || calibration_error(p[rest], y[rest]) for p || calibration_error(p[cal], y[cal]) for p || tests/test_audit_controls.py::test_calibration_is_judged_on_the_other_half_before_and_after_the_scale_is_refitted
clipnull/auditing/confidence.py || [fitted_scale(s[cal], y[cal]) for s in S] || [fitted_scale(S[0][cal], y[cal])] * 3 || tests/test_audit_controls.py::test_calibration_is_judged_on_the_other_half_before_and_after_the_scale_is_refitted
clipnull/auditing/controls.py || left=other.left * (moved(edit) / far if far else 1.0)) || left=other.left) || tests/test_audit_controls.py::test_a_turned_edit_moves_images_as_far_as_the_edit
clipnull/auditing/probes.py || class_weight="balanced" || class_weight=None || tests/test_audit_controls.py::test_the_probe_weighs_both_answers_alike
clipnull/auditing/relearning.py || step * float(P.norm()), seed + i) || step * float(P.norm()), seed) || tests/test_attacks.py::test_relearning_gives_every_class_its_own_draw_and_its_own_new_name
clipnull/auditing/fingerprint.py || float(before.norm() + after.norm()) || float(after.norm()) || tests/test_attacks.py::test_both_layers_are_rounded
clipnull/auditing/words.py || scores[:, c] = -torch.inf || scores[:, c] = 0 || tests/test_audit_controls.py::test_words_are_read_with_the_name_struck_off
clipnull/evaluation.py || kept[case.scores[:, kept].argmax(1)] || case.scores[:, kept].argmax(1) || tests/test_evaluation.py::test_a_dropped_label_wins_nothing_where_all_scores_are_negative
clipnull/erasers.py || Q, T = torch.linalg.qr(Y)\n        return torch.linalg.solve_triangular(T.T, Q, upper=False, left=False)\n    eye || return Y @ torch.linalg.pinv(Y.T @ Y, rtol=1e-3, hermitian=True)\n    eye || tests/test_erasers.py::test_infinite_lam_has_the_rank_of_nullspace
clipnull/measures.py || [:, 0] > tie, gone[first], kept) || [:, 0] > 0, gone[first], kept) || tests/test_measures.py::test_a_win_is_a_lead_of_more_than_a_hundred_thousandth_of_the_size
clipnull/erasers.py || L = erased(D, rtol) if math.isinf(lam) else D || L = erased(D, 0.01) if math.isinf(lam) else D || tests/test_erasers.py::test_infinite_lam_has_the_rank_of_nullspace
clipnull/solver.py || root = (1 + mu * self._s2).rsqrt() || root = (1 + 2 * mu * self._s2).rsqrt() || tests/test_erasers.py::test_the_solver_and_the_plain_formula_are_one
clipnull/erasers.py || "origin": (100.0, 1000.0), || "origin": (30.0, 1000.0), || tests/test_erasers.py::test_defaults_are_those_of_the_docstring
clipnull/erasers.py || MARGIN = 0.05 || MARGIN = 0.1 || tests/test_erasers.py::test_defaults_are_those_of_the_docstring
clipnull/measures.py || [:, 0] != scores.amax(1) || [:, 0] > scores.amax(1) || tests/test_measures.py::test_a_guess_changes_no_winner
clipnull/measures.py || own.amax(1), TIE * size || own.amax(1), TIE || tests/test_measures.py::test_a_win_is_a_lead_of_more_than_a_hundred_thousandth_of_the_size
clipnull/measures.py || drawn = kept if n == "all" else n - 1 || drawn = kept if n == "all" else n || tests/test_measures.py::test_n_way_recall_is_the_mean_over_all_lists
clipnull/report.py || >= own - TIE * case.size || > own + TIE * case.size || tests/test_measures.py::test_an_exactly_silent_name_has_the_search_of_chance_and_loses
clipnull/report.py || S = S / lengths[:, None].clamp_min || S = S / (lengths * 0 + 1)[:, None].clamp_min || tests/test_measures.py::test_search_of_a_report_normalises_after_the_edit
clipnull/report.py || else edit.image_norms(Z) || else Z.norm(dim=1) || tests/test_measures.py::test_search_of_a_report_normalises_after_the_edit
# a wrong sign, a missing normalisation, W where its transpose belongs
clipnull/edit.py || return self._apply("T", T, self.right, self.left, normalize) || return self._apply("T", T, self.left, self.right, normalize) || tests/test_erasers.py::test_image_side_gives_the_logits_of_the_unnormalised_text_side
clipnull/erasers.py || D = T_f - A\n    if len || D = T_f + A\n    if len || tests/test_theorems.py::test_third_theorem_the_mean_scores_the_average
clipnull/hull.py || worst = worst[slack[worst] < -OPTIMAL * size] || worst = worst[:0] || tests/test_hull.py::test_the_names_beyond_the_first_working_set_are_asked_too
clipnull/hull.py || A = R[active] - t || A = R[active] + t || tests/test_hull.py::test_minimax_where_the_name_can_win
clipnull/evaluation.py || L, TR = edit.left.detach().to(T), T @ edit.right.detach().to(T) || L, TR = edit.right.detach().to(T), T @ edit.left.detach().to(T) || tests/test_evaluation.py::test_evaluate_equals_full_recomputation
clipnull/report.py || (T if side == "image" else F.normalize(edit.apply_text(T).detach(), dim=1)).T || (T if side == "image" else edit.apply_text(T).detach()).T || tests/test_evaluation.py::test_evaluate_equals_full_recomputation
clipnull/report.py || return self.case.accuracy(self.predicted_after) || return self.case.recall(self.predicted_after) || tests/test_evaluation.py::test_report_by_hand
clipnull/evaluation.py || {"retain", "gone", "predicted"} || {"retain", "predicted"} || tests/test_evaluation.py::test_another_forget_set_shares_the_scores_and_nothing_that_depends_on_it
clipnull/subspace.py || unit = torch.nn.functional.normalize(x.double(), dim=1) || unit = x.double() || tests/test_subspace.py::test_duplicate_parallel_and_tiny_rows
clipnull/protocol/baselines.py || - F.cross_entropy(logits[gone], y[gone]) || + F.cross_entropy(logits[gone], y[gone]) || tests/test_baselines.py::test_gradient_forgets_what_the_images_show_and_keeps_the_rest
clipnull/model/fold.py || if self.side == "image" else (e.right, e.left) || if self.side == "image" else (e.left, e.right) || tests/test_model_fold.py::test_the_wrong_transpose_gives_other_features tests/test_model_fold.py::test_folded_features_are_the_edited_features
clipnull/model/fold.py || x = x - (x @ a) @ b.T || x = x + (x @ a) @ b.T || tests/test_model_fold.py::test_folded_features_are_the_edited_features
clipnull/model/fold.py || a, b = step.factors || a, b = (f.to(original.dtype).double() for f in step.factors) || tests/test_model_fold.py::test_weights_are_computed_in_double_precision_and_rounded_once
clipnull/model/fold.py || x = x - (x @ a) @ b.T || x = (x - (x @ a) @ b.T).to(original.dtype).double() || tests/test_model_fold.py::test_weights_are_computed_in_double_precision_and_rounded_once
# what comes from outside
clipnull/model/loading.py || "trust_remote_code": False} || "trust_remote_code": True} || tests/test_remote_code.py::test_a_tokenizer_that_needs_it_is_refused
clipnull/model/cache.py || if checksum == _sha256(name, Z): || if True: || tests/test_cache.py::test_a_damaged_entry_is_noticed_and_replaced
clipnull/model/saving.py || report.case.forget_names if || report.case.classes if || tests/test_models.py::test_receipt
clipnull/model/saving.py || "two_way_after": two.after} || "two_way_after": two.before} || tests/test_models.py::test_receipt
clipnull/datasets/pictures.py || labels=self.labels[rows] || labels=self.labels[: len(rows)] || tests/test_datasets.py::test_labels_follow_the_images_that_are_left
# figures: swapped axes, one series in another's place, a wrong sign
clipnull/plots/protocol.py || ax.barh(range(len(methods)), parts[:, k], left=left || ax.barh(range(len(methods)), parts[:, 0], left=left || tests/test_plots_protocol.py
clipnull/lab/views.py || here = [100 * r.forget_after, 100 * r.retain_after] || here = [100 * r.retain_after, 100 * r.forget_after] || tests/test_lab_views.py::test_curve
clipnull/lab/views.py || percents = [100 * y for y in accuracies] || percents = [100 * y for y in lines["full recall"]] || tests/test_lab_views.py::test_curve
clipnull/lab/views.py || ax.plot([100 * before] * 2 || ax.plot([100 * after] * 2 || tests/test_lab_views.py::test_accuracy
clipnull/lab/views.py || (corners[0] + w.numpy() @ (corners[1:] - corners[0]) || (corners[0] + w.numpy()[:, ::-1] @ (corners[1:] - corners[0]) || tests/test_lab_views.py::test_triangle
clipnull/lab/bench.py || kept = torch.tensor(self.case.retain) || kept = torch.tensor(self.case.listed + self.case.forget) || tests/test_lab.py::test_the_shorter_list_is_that_without_the_forgotten_names
clipnull/lab/views.py || key=lambda r: (r.change, -r.cosine) || key=lambda r: (-r.change, -r.cosine) || tests/test_lab_views.py::test_neighbours
# what a method left is shown as it was, or on the wrong side
clipnull/protocol/run.py || full = Change(report.forget_before, report.forget_after) || full = Change(report.forget_before, report.forget_before) || tests/test_protocol.py::test_a_row_is_what_the_parts_give_by_hand
clipnull/protocol/run.py || "text" if side == "text" else "image" || "image" || tests/test_protocol.py::test_certificates_are_of_the_side_that_was_edited
clipnull/protocol/result.py || (r.full.after, r.two.after, r.search.after, r.retained, r.others) || (r.full.after, r.search.after, r.two.after, r.retained, r.others) || tests/test_protocol.py::test_the_table_shows_short_lists_search_and_certificate
clipnull/cli.py || [r.forget_after, r.n_way[2].after, r.search.after, r.retained] || [r.forget_after, r.n_way[2].before, r.search.after, r.retained] || tests/test_cli.py::test_the_table_holds_the_numbers
clipnull/plots/auditing.py || "probe, after": ([p.after for p in probes] || "probe, after": ([p.before for p in probes] || tests/test_plots_audit.py
clipnull/plots/auditing.py || ax.plot(before, place, "D", color="white" || ax.plot(after, place, "D", color="white" || tests/test_plots_audit.py
clipnull/plots/auditing.py || ax.bar(middle[used], 100 * accuracy[used], 0.9 * width, color=RETAIN || ax.bar(middle[used], 100 * conf[used], 0.9 * width, color=RETAIN || tests/test_plots_audit.py
# a fault of ours that is shown as "not measured"
clipnull/auditing/run.py || except NotMeasured as why: || except ValueError as why: || tests/test_audit.py::test_a_fault_inside_a_measurement_comes_out tests/test_audit.py::test_a_fault_inside_an_attack_comes_out
clipnull/auditing/controls.py || except NotMeasured as why: || except ValueError as why: || tests/test_audit.py::test_a_fault_inside_a_measurement_comes_out
clipnull/plots/mathematics.py || for i, (name, y) in enumerate(values.items()): || for i, (name, y) in enumerate(reversed(values.items())): || tests/test_plots_embeddings.py
clipnull/plots/erasing.py || ax.scatter(s[~lost], c[~lost], s=28 || ax.scatter(s[~lost], -c[~lost], s=28 || tests/test_plots_erasing.py
clipnull/plots/erasing.py || ax.plot(a[i], row, marker, color=colour || ax.plot(b[i], row, marker, color=colour || tests/test_plots_erasing.py
clipnull/plots/mathematics.py || (column - 0.46, row - 0.44) || (row - 0.46, column - 0.44) || tests/test_plots_erasing.py
clipnull/lab/lessons.py || Edit(edit.right, edit.left) || Edit(edit.left, edit.right) || tests/test_widgets_04.py
clipnull/lab/lessons.py || "image" if side == "image" and unit else "text" || "text" if side == "image" and unit else "image" || tests/test_widgets_04.py
clipnull/plots/embeddings.py || np.argsort(-p, kind="stable")[:5]) for label, p in panels.items()] || np.argsort(p, kind="stable")[:5]) for label, p in panels.items()] || tests/test_plots_embeddings.py
clipnull/plots/embeddings.py || np.stack([np.cos(a), side * np.sin(a)], 1) || np.stack([np.sin(a), side * np.cos(a)], 1) || tests/test_plots_embeddings.py
clipnull/plots/embeddings.py || ax.plot(middle, density, line || ax.plot(density, middle, line || tests/test_plots_embeddings.py
clipnull/exercises/checking.py || made.shape[-2:] == square || made.shape == (self.size, self.size + 1) || tests/test_exercises_02.py
clipnull/lab/stepper.py || self.residual = z - self.inside || self.residual = z + self.inside || tests/test_widgets_02.py
clipnull/lab/stepper.py || (start, corner, PURPLE), (corner, self.z, GREEN) || (start, corner, GREEN), (corner, self.z, PURPLE) || tests/test_widgets_02.py
# the notebook gate
tools/nbval_close.py || bool(_PERCENT.match(text, number.end())) or any( || "%" in text or any( || tests/test_notebooks.py::test_which_numbers_are_percentages
tools/nbval_close.py || named = heads[0] in speaking and || named = bool(speaking) and || tests/test_notebooks.py::test_which_numbers_are_percentages
tools/nbval_close.py || HALF_A_POINT = 0.5 || HALF_A_POINT = 5 || tests/test_notebooks.py::test_check_shows_what_nbval_would_object_to
tools/nbval_close.py || output["data"].update(alt_texts(output)) || pass || tests/test_notebooks.py::test_nbval_notices_what_changed_and_only_that
tools/nbval_close.py || return shown and message["parent_header"].get("msg_id") in drawing.values() || return shown and bool(drawing) || tests/test_notebooks.py::test_nbval_notices_what_changed_and_only_that
"""


class Fault(NamedTuple):
    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        return f"{self.file}: {self.old!r} -> {self.new!r}"

    def planted(self, text: str) -> str:
        """The file's text with the fault in it; ValueError when the line is out of date."""
        if (n := text.count(self.old)) != 1:
            raise ValueError(f"{self.file}: occurs {n} times, want once: {self.old!r}")
        return text.replace(self.old, self.new)


def faults(listed: str = FAULTS) -> list[Fault]:
    """The faults of a list, line by line."""
    found = []
    for line in filter(None, map(str.strip, listed.splitlines())):
        if line.startswith("#"):
            continue
        parts = line.split(" || ")
        if len(parts) != 4:
            raise ValueError(f"want file || text || what it becomes || tests, got {line!r}")
        found.append(Fault(*(part.replace(r"\n", "\n") for part in parts)))
    return found


def copy(root: Path, to: Path) -> None:
    """Copy what git tracks, or would track: the working tree without what is ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split(
        "\0"
    ):
        if name and (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)


def run_tests(folder: Path, *tests: str) -> tuple[int, str]:
    """pytest's exit status for some tests of a copy, 1 if they hang, and the end of what it said."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    # no plugins: nbval alone takes ten times as long to start as most of these tests run
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # a compiled file is told from a changed one by size and time, and a fault may change neither
    env |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *tests]
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return FAILED, f"no end after {LIMIT} seconds"
    return done.returncode, (done.stdout + done.stderr)[-2000:]


def verdict(folder: Path, fault: Fault) -> str:
    """Plant a fault in a copy, run its tests and take it out again; "" when they noticed."""
    path = folder / fault.file
    try:
        text = path.read_text(encoding="utf-8")
        planted = fault.planted(text)
    except (OSError, ValueError) as error:
        return f"stale: {error}"
    path.write_text(planted, encoding="utf-8")
    try:
        status, said = run_tests(folder, *shlex.split(fault.tests))
    finally:
        path.write_text(text, encoding="utf-8")
    if status == FAILED:
        return ""
    return (
        f"survived {fault.tests}: {fault}" if status == 0 else f"not tested ({fault.tests}): {fault}\n{said}"
    )


def baseline(folder: Path, tests: list[str]) -> str:
    """Run tests as the code is; "" when they pass."""
    status, said = run_tests(folder, *tests)
    return f"without a fault these tests do not pass: {' '.join(tests)}\n{said}" if status else ""


def together(selected: list[Fault]) -> list[list[str]]:
    """The tests of all the faults, one run for each test file; what selects by expression runs apart."""
    runs: dict[str, list[str]] = {}
    for tests in dict.fromkeys(fault.tests for fault in selected):
        if " -" in tests:
            runs[tests] = shlex.split(tests)
            continue
        for name in shlex.split(tests):
            run = runs.setdefault(name.partition("::")[0], [])
            run += [name] if name not in run else []
    # a file that is named as a whole holds its tests
    return [[key] if key in run and " -" not in key else run for key, run in runs.items()]


def main(argv: list[str] | None = None, listed: str = FAULTS, root: Path = ROOT) -> int:
    """Command line; 0 when every selected fault was noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="regular expression, searched in each line"
    )
    parser.add_argument("--jobs", type=int, default=2, help="faults tried at a time (default: 2)")
    parser.add_argument("--list", action="store_true", help="show the faults and try none")
    args = parser.parse_args(argv)
    selected = [f for f in faults(listed) if re.search(args.only, " || ".join(f))]
    if args.list:
        print(*selected, sep="\n")
        return 0
    if not selected:
        parser.error(f"--only {args.only}: matches no fault")
    with tempfile.TemporaryDirectory(prefix="clipnull-mutate-") as temporary:
        folders = [Path(temporary, str(i)) for i in range(max(1, args.jobs))]
        for folder in folders:
            copy(root, folder)
        free, lock, bad = list(folders), threading.Lock(), 0

        def apart(do: Callable[[Path, Any], str], what: Any) -> str:
            """Each attempt has a copy to itself."""
            with lock:
                folder = free.pop()
            try:
                return do(folder, what)
            finally:
                with lock:
                    free.append(folder)

        with ThreadPoolExecutor(len(folders)) as pool:
            red = [said for said in pool.map(partial(apart, baseline), together(selected)) if said]
            if red:
                print(*red, sep="\n")
                return 1
            for fault, said in zip(selected, pool.map(partial(apart, verdict), selected), strict=True):
                bad += bool(said)
                print(said or f"noticed: {fault}", flush=True)
    print(f"{len(selected) - bad} of {len(selected)} faults noticed")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
