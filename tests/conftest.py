"""How properties are searched: the same examples in every gate, others on request; a busy machine is no fault."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

os.environ.pop("COLUMNS", None)  # readline sets it for the processes of pytest-xdist; tables are as wide as in a pipe
