"""MNIST as four tensors, and the random numbers set."""

import argparse

import pyarrow.parquet as pq
import torch
from torch import Tensor

from tune_app.task.tutorial.plain.pieces.found import seed, threads

# ---- MNIST ---------------------------------------------------------------------------------------------

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", required=True, help="a Parquet file with columns split, image and label")
parser.add_argument("-o", "--output", help="where to save the weights, as a safetensors file")
args = parser.parse_args()


def read(split: str) -> tuple[Tensor, Tensor]:
    """Images (n, 784), pixel / 256 as in the tutorial's file, and labels (n,)."""
    table = pq.read_table(args.data, columns=["image", "label"], filters=[("split", "==", split)])
    pixels = torch.frombuffer(bytearray(b"".join(table["image"].to_pylist())), dtype=torch.uint8)
    return pixels.view(-1, 784) / 256, torch.tensor(table["label"].to_pylist())


x_train, y_train = read("train")
x_valid, y_valid = read("valid")  # the test images stay unread

torch.set_num_threads(threads)  # another number of threads sums in another order, and rounds differently
torch.manual_seed(seed)  # the initial weights are the first numbers drawn
