"""What several levels' scripts share."""
