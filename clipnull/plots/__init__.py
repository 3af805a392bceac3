"""Figures from arrays. Every figure has alt text (`describe`); none keeps state."""

from clipnull.plots.auditing import *
from clipnull.plots.base import *
from clipnull.plots.embeddings import *
from clipnull.plots.erasing import *
from clipnull.plots.mathematics import *
from clipnull.plots.protocol import *
