"""The loop that trains a lesson and keeps its state. It needs torch, numpy and safetensors and nothing else of this
package: an exported bundle has a copy of these files.
"""
