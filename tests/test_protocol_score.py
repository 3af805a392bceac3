"""The score of the protocol, by hand."""

import math

import pytest

import clipnull as cn


def test_protocol_score_by_hand():
    assert cn.protocol.protocol_score((80, 0), (60, 60), [(50, 50)] * 3) == 0
    assert cn.protocol.protocol_score((80, 80), (60, 60), [(50, 50)] * 3) == 0.2, (
        "nothing forgotten costs one fifth"
    )
    assert math.isclose(
        cn.protocol.protocol_score((0.8, 0.4), (0.5, 0.25), [(0.5, 0.6)] * 3), (0.5 + 0.5) / 5
    )
    with pytest.raises(ValueError, match="forget before: got 0"):
        cn.protocol.protocol_score((0, 0), (60, 60))
