"""A CLIP: load it, embed with it, fold an edit into it, save it."""

from clipnull.model.clip import *
from clipnull.model.fold import *
from clipnull.model.hf import *
from clipnull.model.loading import *
