"""Deciding capacity: arithmetic over what was observed, and the AWS calls that carry it out."""
