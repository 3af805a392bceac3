"""How the exercise checks report, on two of them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from answers import answer_tests

from clipnull import exercises as ex
from clipnull.exercises import checking

# --- right answers, written as a learner would -------------------------------------------------


def basis(T):
    columns = []
    for t in T:
        residual = t / t.norm()
        for q in columns:
            residual = residual - (q @ residual) * q
        if residual.norm() > 1e-5:
            columns.append(residual / residual.norm())
    return torch.stack(columns, 1)


def project_out(Z, U):
    return Z - (Z @ U) @ U.T


RIGHT = {
    ex.check_basis: basis,
    ex.check_project_out: project_out,
}


def name(value):
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("check", RIGHT, ids=name)
def test_numpy_answers_are_read(check):
    def in_numpy(*args):
        return np.asarray(RIGHT[check](*args))

    assert check(in_numpy).passed


def test_a_forgotten_ellipsis_after_the_answer_is_no_stub():
    def answer(Z, U):
        return project_out(Z, U)
        ...

    assert ex.check_project_out(answer).passed


# --- both kinds of answer ------------------------------------------------------------------------

test_right_answer, test_stub, test_missing_return, _ = answer_tests(RIGHT, [])


def test_messages_say_by_how_much():
    message = ex.check_basis(lambda T: T.T).message
    assert "UᵀU differs from the right answer by up to 0." in message
    assert (
        "differs from the right answer by up to"
        in ex.check_project_out(lambda Z, U: Z - 2 * (Z @ U) @ U.T).message
    )


# --- what the core itself does ------------------------------------------------------------------


def test_a_crash_names_the_error_and_the_line():
    def crash(T):
        return T @ T

    message = ex.check_basis(crash).message
    assert "raised RuntimeError" in message and "`return T @ T`. Arrays are [" in message


def test_a_name_that_is_not_there_is_no_matter_of_sizes():
    def crash(T):
        return unheard_of  # noqa: F821

    message = ex.check_basis(crash).message
    assert "raised NameError" in message and "Arrays are" not in message


def test_input_changed_in_place_is_named():
    def in_place(Z, U):
        Z -= (Z @ U) @ U.T
        return Z

    assert "changes its input" in ex.check_project_out(in_place).message


def test_not_implemented_counts_as_not_attempted():
    def todo(T):
        raise NotImplementedError

    assert ex.check_basis(todo).passed is None


def test_something_that_is_no_array_is_named():
    assert "which is no array" in ex.check_project_out(lambda Z, U: {"Z": Z}).message


def test_nan_is_named():
    assert "NaN" in ex.check_project_out(lambda Z, U: project_out(Z, U) / 0).message


def test_synthetic_inputs_have_the_shape_of_clips_space():
    case = checking.synthetic(*checking.SHAPES["CLIP-shaped"])
    Z, T = (F.normalize(x, dim=1) for x in (case.Z, case.T))
    cosines = T @ T.T
    cone = (cosines.sum() - cosines.trace()) / (len(T) * (len(T) - 1))
    assert 0.5 < float(cone) < 0.75
    assert float((Z.mean(0) - T.mean(0)).norm()) > 0.3
    assert ((Z @ T.T).argmax(1) == case.labels).double().mean() > 0.9


def test_a_check_looks_like_a_function_of_its_own():
    assert ex.check_basis.__name__ == "check_basis" and "r the rank" in (ex.check_basis.__doc__ or "")
    assert list(inspect.signature(ex.check_basis).parameters) == ["function"]
