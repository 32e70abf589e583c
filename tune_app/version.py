"""The version of tune_app, which runs without being installed, too."""

VERSION = "0.9.0"
