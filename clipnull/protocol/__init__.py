"""The evaluation protocol of the literature: published figures, the run, trained baselines."""

from clipnull.protocol.baselines import *
from clipnull.protocol.published import *
from clipnull.protocol.result import *
from clipnull.protocol.run import *
