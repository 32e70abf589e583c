"""The tutorial's levels as plain scripts, one file a level: what a bundle's train.py is put together from.

`tutorial.script` writes a level's file with its pieces in one: the imports first, then the found values in
place of `pieces/found.py`, then each piece that the level imports, in order. The text of the files is the text
of the script, so they are written for its reader, who has the tutorial and no tune_app. Never imported: they
train, e.g. python -m tune_app.task.tutorial.plain.cnn --data tune_app/task/images/mnist.parquet
"""
