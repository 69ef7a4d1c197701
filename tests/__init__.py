"""The tests. What is true of all with Hypothesis: examples have no time limits, since the machine may be busy with other things."""

from hypothesis import HealthCheck, settings

settings.register_profile("moxtwisted", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("moxtwisted")
