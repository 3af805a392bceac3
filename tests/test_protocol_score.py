"""The score of the protocol, by hand."""

import math

from clipnull.protocol.result import score_parts


def test_protocol_score_by_hand():
    assert sum(score_parts((80, 0), (60, 60), [(50, 50)] * 3)) == 0
    assert sum(score_parts((80, 80), (60, 60), [(50, 50)] * 3)) == 0.2, "nothing forgotten costs one fifth"
    assert math.isclose(sum(score_parts((0.8, 0.4), (0.5, 0.25), [(0.5, 0.6)] * 3)), (0.5 + 0.5) / 5)
    assert all(map(math.isnan, score_parts((0, 0), (60, 60))))
