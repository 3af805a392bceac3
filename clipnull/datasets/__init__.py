"""Labelled pictures and embeddings."""

from clipnull.datasets.arrays import *
from clipnull.datasets.emoji import *
from clipnull.datasets.folders import *
from clipnull.datasets.pictures import *
from clipnull.datasets.registry import *
