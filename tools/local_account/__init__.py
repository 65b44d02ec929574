"""The embedded account: the template really deployed on this machine, without AWS and without Docker."""
