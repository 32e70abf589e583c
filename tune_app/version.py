"""The version of tune_app, which runs without being installed, too."""

VERSION = "0.8.0"
