"""Checks of the lessons' exercises: they take the learner's own function."""

from clipnull.exercises.anchors import *
from clipnull.exercises.bases import *
from clipnull.exercises.consistent import *
from clipnull.exercises.doubt import *
from clipnull.exercises.electives import *
from clipnull.exercises.embedding_space import *
from clipnull.exercises.lab import *
from clipnull.exercises.nullspace import *
from clipnull.exercises.own_model import *
from clipnull.exercises.protocol import *
from clipnull.exercises.tour import *
