"""How hypothesis runs: no deadlines, since machines differ, and fewer examples where CI is set."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("fastim", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("fastim"), max_examples=50, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "fastim")
