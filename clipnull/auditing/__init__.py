"""Is it really gone? One file per question."""

from clipnull.auditing.attacks import *
from clipnull.auditing.confidence import *
from clipnull.auditing.controls import *
from clipnull.auditing.fingerprint import *
from clipnull.auditing.layers import *
from clipnull.auditing.probes import *
from clipnull.auditing.relearning import *
from clipnull.auditing.report import *
from clipnull.auditing.run import *
from clipnull.auditing.words import *
