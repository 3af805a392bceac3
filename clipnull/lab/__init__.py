"""The forget/retain lab and the lessons' widgets; no mathematics of its own."""

from clipnull.lab.base import *
from clipnull.lab.bench import *
from clipnull.lab.drawn import *
from clipnull.lab.lessons import *
from clipnull.lab.plane import *
from clipnull.lab.state import *
from clipnull.lab.stepper import *
from clipnull.lab.views import *
from clipnull.lab.widget import *
