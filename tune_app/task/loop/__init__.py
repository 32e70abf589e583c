"""The loop that trains a lesson and keeps its state; needs torch, numpy and safetensors, and nothing else of this
package: an exported bundle has a copy of these files.
"""

from .batches import get_data
from .fit import fit
from .lesson import Lesson, Maximize, Minimize

__all__ = ["Lesson", "Maximize", "Minimize", "fit", "get_data"]
